"""Head office over HTTP (docs/PROTOCOL.md, "The cloud"). All routes on one page; a handler parses, calls, renders."""

import re
import secrets
from collections.abc import Awaitable, Callable

import aiohttp_jinja2
import jinja2
from aiohttp import hdrs, web
from sqlalchemy.ext.asyncio import AsyncConnection

from appliance.domain.dsse import ENVELOPE_BYTES_MAX
from appliance.domain.errors import Malformed
from appliance.domain.sale import SALE_BYTES_MAX, parse_sale
from appliance.domain.statements import PROBE_TYPE, ProbeAnswer, sign
from appliance.domain.wire import (
    BATCH_BYTES_MAX,
    BATCH_MEDIA,
    CATALOGUE_MEDIA,
    ENVELOPE_MEDIA,
    NONCE_HEADER,
    OperationRequest,
    ProbeRequest,
)
from appliance.runtime.bodies import JSON, json_answer, read_body
from appliance.runtime.clock import rfc3339
from appliance.runtime.problem import problem_middleware
from cloud import (
    bundles,
    est,
    fleet_page,
    office,
    store_events,
    store_exceptions,
    store_loose,
    store_operations,
    store_sales,
    words,
)
from cloud.auth import DOOR, Caller, offer_basic, only, part_ways
from cloud.bodies import NDJSON, limit, lines_answer, number, read_json
from cloud.parts import PARTS, Parts
from cloud.rotation import keys_of

PROBE_BYTES_MAX = 1024
OPERATION_BYTES_MAX = 64 * 1024
# Events are read from the books and sent on in steps of this many.
EVENTS_STEP = 200

_TEMPLATES = jinja2.PackageLoader("cloud")
EventPage = Callable[[AsyncConnection, str, int, int, int], Awaitable[list[store_events.Body]]]
_NONCE = re.compile(r"[0-9a-f]{32}", re.ASCII)


def make_app(parts: Parts) -> web.Application:
    """The application, ready to be served."""
    app = web.Application(middlewares=[problem_middleware], client_max_size=BATCH_BYTES_MAX)
    app[PARTS] = parts
    app[DOOR] = parts.door
    app.on_response_prepare.extend([offer_basic, part_ways])
    aiohttp_jinja2.setup(app, loader=_TEMPLATES, autoescape=True, auto_reload=False)
    box, seller, head_office = only("box"), only("box", "till"), only("head-office")
    rescuer = only("technician", "head-office")
    app.add_routes(
        [
            *est.ROUTES,
            *office.ROUTES,
            *bundles.ROUTES,
            web.post("/v1/boxes/{box}/events", box(post_events)),
            web.post("/v1/boxes/{box}/probe", box(post_probe)),
            web.post("/v1/boxes/{box}/heartbeat", box(post_heartbeat)),
            web.post("/v1/boxes/{box}/operations/{operation}", box(post_operation)),
            web.get("/v1/policy", box(get_policy)),
            web.get("/v1/rescue/{rescued}", rescuer(get_rescue)),
            web.post("/v1/rescue/{rescued}/events", rescuer(post_rescued)),
            web.get("/v1/catalogue/snapshot", seller(get_snapshot)),
            web.get("/v1/catalogue/changes", seller(get_changes)),
            web.post("/v1/sales", only("till")(post_sale)),
            web.post("/v1/operations/{operation}", only("till")(post_operation)),
            web.get("/v1/boxes/{box}/epochs", head_office(get_epochs)),
            web.get("/v1/boxes/{box}/epochs/{epoch}/events", head_office(get_events)),
            web.get("/v1/boxes/{box}/epochs/{epoch}/loose", head_office(get_loose)),
            web.get("/v1/sales", head_office(get_sales)),
            web.get("/v1/operations", head_office(get_operations)),
            web.get("/v1/exceptions", head_office(get_exceptions)),
            web.get("/v1/fleet", head_office(get_fleet)),
            web.get("/", head_office(get_page)),
        ]
    )
    return app


# --- boxes


async def post_events(request: web.Request, caller: Caller) -> web.Response:
    """POST /v1/boxes/{box}/events: a batch; 200 with the receipt once it is on disk."""
    parts = request.app[PARTS]
    nonce = request.headers.get(NONCE_HEADER, "")
    if not _NONCE.fullmatch(nonce):
        raise Malformed(f"the header {NONCE_HEADER} must be 32 lower-case hex digits")
    keys = await keys_of(parts.database, caller.name)
    body = await read_body(request, BATCH_MEDIA, BATCH_BYTES_MAX)
    return _envelope(await parts.ingest.take(caller.name, keys, body, nonce))


async def post_probe(request: web.Request, caller: Caller) -> web.Response:
    """POST /v1/boxes/{box}/probe: the nonce, signed. Says no as soon as a batch could not be stored."""
    parts = request.app[PARTS]
    question = await read_json(request, ProbeRequest, PROBE_BYTES_MAX)
    parts.database.check()
    answer = ProbeAnswer(box=caller.name, nonce=question.nonce, at=rfc3339(parts.clock.wall()))
    return _envelope(sign(parts.signer, PROBE_TYPE, answer))


async def post_heartbeat(request: web.Request, caller: Caller) -> web.Response:
    """POST /v1/boxes/{box}/heartbeat."""
    parts = request.app[PARTS]
    envelope = await read_body(request, ENVELOPE_MEDIA, ENVELOPE_BYTES_MAX)
    keys = await keys_of(parts.database, caller.name)
    return json_answer(await parts.fleet.hear(caller.name, keys, envelope))


async def get_rescue(request: web.Request, caller: Caller) -> web.Response:
    """GET /v1/rescue/{rescued}: what head office knows of a dead box."""
    return json_answer(await request.app[PARTS].rescue.look(caller, request.match_info["rescued"]))


async def post_rescued(request: web.Request, caller: Caller) -> web.Response:
    """POST /v1/rescue/{rescued}/events: a batch off a dead box's card."""
    body = await read_body(request, BATCH_MEDIA, BATCH_BYTES_MAX)
    return json_answer(await request.app[PARTS].rescue.take(caller, request.match_info["rescued"], body))


async def get_policy(request: web.Request, _caller: Caller) -> web.Response:
    """GET /v1/policy."""
    return _envelope(await request.app[PARTS].policy.envelope())


# --- boxes and tills


async def get_snapshot(request: web.Request, _caller: Caller) -> web.StreamResponse:
    """GET /v1/catalogue/snapshot."""
    return await _transfer(request, None)


async def get_changes(request: web.Request, _caller: Caller) -> web.StreamResponse:
    """GET /v1/catalogue/changes?since=V."""
    return await _transfer(request, number(request, "since"))


async def _transfer(request: web.Request, since: int | None) -> web.StreamResponse:
    path = await request.app[PARTS].shelf.transfer(since)
    return web.FileResponse(path, headers={hdrs.CONTENT_TYPE: CATALOGUE_MEDIA})


async def post_sale(request: web.Request, caller: Caller) -> web.Response:
    """POST /v1/sales: 201 once stored, 200 when known, 409 when known with another content."""
    content = parse_sale(await read_body(request, JSON, SALE_BYTES_MAX))
    taken = await request.app[PARTS].selling.take(caller.name, content)
    return json_answer(taken.answer, status=200 if taken.known else 201)


async def post_operation(request: web.Request, caller: Caller) -> web.Response:
    """POST .../operations/{operation}, for boxes and for tills."""
    asked = await read_json(request, OperationRequest, OPERATION_BYTES_MAX)
    name = request.match_info["operation"]
    asked_by = f"{caller.role} {caller.shop} {caller.name}"
    done = await request.app[PARTS].operations.do(name, asked, asked_by=asked_by)
    return json_answer(done.answer, status=200 if done.known else 201)


# --- head office


async def get_epochs(request: web.Request, _caller: Caller) -> web.Response:
    """GET /v1/boxes/{box}/epochs."""
    async with request.app[PARTS].database.reading() as connection:
        return json_answer(await store_events.epochs(connection, request.match_info["box"]))


async def get_events(request: web.Request, _caller: Caller) -> web.StreamResponse:
    """GET /v1/boxes/{box}/epochs/{epoch}/events?after=SEQ&limit=N: the verbatim bytes, one event a line."""
    return await _events(request, store_events.bodies)


async def get_loose(request: web.Request, _caller: Caller) -> web.StreamResponse:
    """GET .../epochs/{epoch}/loose?after=SEQ&limit=N: what was rescued from behind a hole, the same way."""
    return await _events(request, store_loose.bodies)


async def _events(request: web.Request, page: EventPage) -> web.StreamResponse:
    box, epoch = request.match_info["box"], number(request, "epoch")
    after, left = number(request, "after", 0), limit(request)
    response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: NDJSON})
    await response.prepare(request)
    while left > 0:
        async with request.app[PARTS].database.reading() as connection:
            events = await page(connection, box, epoch, after, min(left, EVENTS_STEP))
        if not events:
            break
        await response.write(b"".join(event.body + b"\n" for event in events))
        after, left = events[-1].seq, left - len(events)
    await response.write_eof()
    return response


async def get_sales(request: web.Request, _caller: Caller) -> web.Response:
    """GET /v1/sales?after=SALE_ID&limit=N."""
    async with request.app[PARTS].database.reading() as connection:
        return lines_answer(
            await store_sales.page(connection, request.query.get("after", ""), limit(request))
        )


async def get_operations(request: web.Request, _caller: Caller) -> web.Response:
    """GET /v1/operations?after=ID&limit=N."""
    async with request.app[PARTS].database.reading() as connection:
        return lines_answer(
            await store_operations.page(connection, request.query.get("after", ""), limit(request))
        )


async def get_exceptions(request: web.Request, _caller: Caller) -> web.Response:
    """GET /v1/exceptions?after=NUMBER&limit=N."""
    async with request.app[PARTS].database.reading() as connection:
        return json_answer(
            await store_exceptions.page(connection, number(request, "after", 0), limit(request))
        )


async def get_fleet(request: web.Request, _caller: Caller) -> web.Response:
    """GET /v1/fleet."""
    return json_answer(await request.app[PARTS].fleet.look())


async def get_page(request: web.Request, _caller: Caller) -> web.Response:
    """GET /: the fleet, for people."""
    parts = request.app[PARTS]
    fleet = await parts.fleet.look()
    language = words.choose(request.query.get("lang"), request.headers.get(hdrs.ACCEPT_LANGUAGE, ""))
    nonce = secrets.token_urlsafe(16)
    context = {
        "language": language,
        "labels": words.LABELS[language],
        "rows": fleet_page.rows(fleet, language),
        "counts": fleet_page.counts(fleet, language),
        "catalogue": await parts.shelf.version(),
        "policy": (await parts.policy.in_force()).version,
        "at": f"{parts.clock.wall():%H:%M:%S}",
        "nonce": nonce,
    }
    response = aiohttp_jinja2.render_template("fleet.html", request, context)
    response.headers.update(
        {
            "Content-Security-Policy": f"default-src 'none'; style-src 'nonce-{nonce}'; base-uri 'none'; "
            "form-action 'none'; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
            "Vary": "Accept-Language",
        }
    )
    return response


def _envelope(body: bytes) -> web.Response:
    return web.Response(body=body, content_type=ENVELOPE_MEDIA)

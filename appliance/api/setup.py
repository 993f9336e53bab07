"""The application of an unclaimed box: who it is, and a way in for one claim. Nothing else is served."""

import msgspec
from aiohttp import hdrs, web

from appliance.api.headers import add_strict_headers
from appliance.api.limits import part_with_the_hasty
from appliance.domain.enrolling import ClaimNote
from appliance.domain.errors import BrowserRefused, Malformed, NotReady
from appliance.domain.wire import Hello, Ready
from appliance.runtime.bodies import JSON, json_answer, read_body
from appliance.runtime.guard import Guard
from appliance.runtime.problem import Handler, problem_middleware
from appliance.services.enrolling import Enroller
from appliance.services.rates import Rates

CLAIM_BYTES_MAX = 8 * 1024
BODY_WITHIN_S = 5.0

HELLO = web.AppKey("hello", Hello)
ENROLLER = web.AppKey("enroller", Enroller)
RATES = web.AppKey("rates", Rates)

_notes = msgspec.json.Decoder(ClaimNote)


def make_setup_app(hello: Hello, enroller: Enroller, rates: Rates, guard: Guard) -> web.Application:
    """The application. To `guard` everybody here is a stranger."""
    watched = guard.middleware(lambda _request: False)
    app = web.Application(
        middlewares=[watched, problem_middleware, _guarded], client_max_size=CLAIM_BYTES_MAX
    )
    add_strict_headers(app, tls=hello.tls)
    app.on_response_prepare.append(part_with_the_hasty)
    app[HELLO], app[ENROLLER], app[RATES] = hello, enroller, rates
    app.router.add_get("/v1/hello", get_hello)
    app.router.add_get("/v1/claim", get_claim)
    app.router.add_post("/v1/claim", post_claim)
    app.router.add_get("/livez", get_live)
    app.router.add_get("/readyz", get_ready)
    return app


async def get_hello(request: web.Request) -> web.Response:
    """Who the box is: what a claim can be bound to."""
    return json_answer(request.app[HELLO])


async def post_claim(request: web.Request) -> web.Response:
    """Take a claim to disk and begin to try it."""
    body = await read_body(request, JSON, CLAIM_BYTES_MAX, within_s=BODY_WITHIN_S)
    try:
        note = _notes.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed("send a claim") from error
    await request.app[ENROLLER].take(note.claim)
    return json_answer({}, status=202)


async def get_claim(request: web.Request) -> web.Response:
    """How far the box is with its claim."""
    return json_answer(request.app[ENROLLER].state)


async def get_live(request: web.Request) -> web.Response:
    """The event loop turns."""
    del request
    return json_answer(Ready("live"))


async def get_ready(request: web.Request) -> web.Response:
    """No sale can be accepted yet."""
    del request
    raise NotReady("this box belongs to no shop yet: give it a claim")


@web.middleware
async def _guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    rates, remote = request.app[RATES], request.remote or ""
    if request.method == hdrs.METH_POST:
        rates.admit_pairing(remote)
    else:
        rates.admit_stranger(remote)
    if hdrs.ORIGIN in request.headers:
        raise BrowserRefused("a page in a browser may not speak to a box")
    return await handler(request)

"""What technicians and head office do about boxes, over HTTP; and what boxes and tills tell and ask beside it."""

from typing import Annotated

from aiohttp import web
from msgspec import Meta

from appliance.domain.enrolling import ClaimOrder, Revocation
from appliance.domain.pairing import TILLS_MAX, PairingOpen, TillRecord
from appliance.runtime.bodies import json_answer
from cloud.auth import Caller, only
from cloud.bodies import limit, number, read_json
from cloud.boxes import BoxDesk
from cloud.parts import PARTS

ORDER_BYTES_MAX = 8 * 1024
# Names are free text: this many bytes are the most that a full list can have.
TILLS_BYTES_MAX = TILLS_MAX * 4 * 1024

_Tills = Annotated[list[TillRecord], Meta(max_length=TILLS_MAX)]


async def post_claim(request: web.Request, caller: Caller) -> web.Response:
    """POST /v1/claims: a claim for one new box; 404 when it shall replace one that is not known."""
    order = await read_json(request, ClaimOrder, ORDER_BYTES_MAX)
    return json_answer(await _desk(request).claim(caller, order), status=201)


async def post_revocation(request: web.Request, caller: Caller) -> web.Response:
    """POST /v1/boxes/{box}/revocation: believe a box no more."""
    asked = await read_json(request, Revocation, ORDER_BYTES_MAX)
    await _desk(request).revoke(caller, request.match_info["box"], asked.reason)
    return web.Response(status=204)


async def post_pairing(request: web.Request, caller: Caller) -> web.Response:
    """POST /v1/boxes/{box}/pairing: have a box open its pairing window; 201 with the code to show."""
    asked = await read_json(request, PairingOpen, ORDER_BYTES_MAX)
    view = await _desk(request).order_pairing(caller, request.match_info["box"], asked.minutes)
    return json_answer(view, status=201)


async def get_boxes(request: web.Request, caller: Caller) -> web.Response:
    """GET /v1/boxes: a technician sees those of his shop."""
    return json_answer(await _desk(request).boxes(caller))


async def get_audit(request: web.Request, _caller: Caller) -> web.Response:
    """GET /v1/audit?after=NUMBER&limit=N."""
    return json_answer(await _desk(request).audit(number(request, "after", 0), limit(request)))


async def get_place(request: web.Request, caller: Caller) -> web.Response:
    """GET /v1/locator/{box}: where a box is, for a till of its shop."""
    return json_answer(await _desk(request).place(caller, request.match_info["box"]))


async def put_tills(request: web.Request, caller: Caller) -> web.Response:
    """PUT /v1/boxes/{box}/tills: the whole list, from the box."""
    tills = await read_json(request, _Tills, TILLS_BYTES_MAX)
    await _desk(request).keep_tills(caller.name, tills)
    return web.Response(status=204)


def _desk(request: web.Request) -> BoxDesk:
    parts = request.app[PARTS]
    return BoxDesk(parts.database, parts.enrolment, parts.clock)


_people = only("technician", "head-office")
ROUTES: tuple[web.RouteDef, ...] = (
    web.post("/v1/claims", _people(post_claim)),
    web.post("/v1/boxes/{box}/revocation", _people(post_revocation)),
    web.post("/v1/boxes/{box}/pairing", _people(post_pairing)),
    web.get("/v1/boxes", _people(get_boxes)),
    web.get("/v1/audit", only("head-office")(get_audit)),
    web.get("/v1/locator/{box}", only("till")(get_place)),
    web.put("/v1/boxes/{box}/tills", only("box")(put_tills)),
)

"""Offers and bundles over HTTP: what a box may take, and the file itself, piece by piece."""

import asyncio

import msgspec
from aiohttp import hdrs, web

from appliance.domain.errors import NotFound
from appliance.domain.update import Sha256
from appliance.domain.wire import BUNDLE_MEDIA, ENVELOPE_MEDIA
from cloud.auth import Caller, only
from cloud.parts import PARTS


async def get_offer(request: web.Request, caller: Caller) -> web.Response:
    """GET /v1/boxes/{box}/offer."""
    envelope = await request.app[PARTS].updates.envelope(caller.name)
    return web.Response(body=envelope, content_type=ENVELOPE_MEDIA)


async def get_bundle(request: web.Request, _caller: Caller) -> web.StreamResponse:
    """GET /v1/bundles/{sha256}, also in ranges. What stands under a hash never changes, so no range goes stale."""
    try:
        name = msgspec.convert(request.match_info["sha256"], Sha256)
    except msgspec.ValidationError as error:
        raise NotFound("no such bundle") from error
    path = request.app[PARTS].updates.path(name)
    if not await asyncio.to_thread(path.exists):
        raise NotFound("no such bundle")
    return web.FileResponse(path, headers={hdrs.CONTENT_TYPE: BUNDLE_MEDIA})


ROUTES = (
    web.get("/v1/boxes/{box}/offer", only("box")(get_offer)),
    web.get("/v1/bundles/{sha256}", only("box")(get_bundle)),
)

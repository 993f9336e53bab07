"""The paired tills, for the box's own commands."""

from aiohttp import web

from appliance.api.bodies import read_typed
from appliance.api.box import end_streams_of
from appliance.api.keys import TILLS
from appliance.domain.pairing import TillName
from appliance.runtime.bodies import json_answer

NAME_BYTES_MAX = 2 * 1024


async def list_tills(request: web.Request) -> web.Response:
    """All of them."""
    return json_answer(request.app[TILLS].views())


async def rename_till(request: web.Request) -> web.Response:
    """Give one another name for people."""
    asked = await read_typed(request, NAME_BYTES_MAX, TillName)
    return json_answer(await request.app[TILLS].rename(request.match_info["till"], asked.name))


async def revoke_till(request: web.Request) -> web.Response:
    """Let one in no more; its streams end at once, its other connections at their next request."""
    till = request.match_info["till"]
    await request.app[TILLS].revoke(till)
    end_streams_of(request.app, till)
    return web.Response(status=204)

"""How tills come in: the window, for the box's own commands, and the one call that strangers may make."""

from aiohttp import web

from appliance.api.access import TILL
from appliance.api.bodies import read_typed
from appliance.api.box import end_streams_of
from appliance.api.keys import MULTICAST, PAIRING
from appliance.domain.errors import NotFound
from appliance.domain.pairing import Observation, PairingOpen, PairRequest
from appliance.runtime.bodies import json_answer

PAIR_BYTES_MAX = 8 * 1024
NOTE_BYTES_MAX = 1024


async def post_pair(request: web.Request) -> web.Response:
    """Let a till in."""
    asked = await read_typed(request, PAIR_BYTES_MAX, PairRequest)
    answer = await request.app[PAIRING].pair(asked, request.remote or "")
    end_streams_of(request.app, answer.till)
    return json_answer(answer, status=201)


async def open_pairing(request: web.Request) -> web.Response:
    """Open the window."""
    asked = await read_typed(request, NOTE_BYTES_MAX, PairingOpen)
    return json_answer(await request.app[PAIRING].open(asked.minutes), status=201)


async def get_pairing(request: web.Request) -> web.Response:
    """The open window, and the code that lets the next till in."""
    view = request.app[PAIRING].view()
    if view is None:
        raise NotFound("pairing is not open")
    return json_answer(view)


async def close_pairing(request: web.Request) -> web.Response:
    """Let nobody else in."""
    request.app[PAIRING].close()
    return web.Response(status=204)


async def post_observation(request: web.Request) -> web.Response:
    """Whether a till sees the box by multicast."""
    seen = await read_typed(request, NOTE_BYTES_MAX, Observation)
    request.app[MULTICAST].hear(request[TILL], seen.multicast)
    return web.Response(status=204)

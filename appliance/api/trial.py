"""The box's own command sells on trial."""

from aiohttp import web

from appliance.api.bodies import read_json
from appliance.api.keys import TRIAL
from appliance.domain.sale import SALE_BYTES_MAX
from appliance.runtime.bodies import json_answer


async def post_trial(request: web.Request) -> web.Response:
    """Store a sale in a chain of its own; only for `storebox prove` on this machine."""
    body = await read_json(request, SALE_BYTES_MAX)
    return json_answer(await request.app[TRIAL].sell(body), status=201)

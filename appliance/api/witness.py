"""A till shows the last signed head that it was acked with."""

from aiohttp import web

from appliance.api.access import TILL
from appliance.api.bodies import read_json
from appliance.api.keys import REPORT
from appliance.domain.dsse import ENVELOPE_BYTES_MAX
from appliance.runtime.bodies import json_answer


async def post_witness(request: web.Request) -> web.Response:
    """Whether the journal holds the event that this box signed for; a card that was put back does not."""
    envelope = await read_json(request, ENVELOPE_BYTES_MAX)
    return json_answer(await request.app[REPORT].witness.hear(envelope, request[TILL]))

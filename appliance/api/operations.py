"""Online-only operations: passed on to head office while online, refused with a sentence otherwise."""

from aiohttp import web

from appliance.api.access import TILL
from appliance.api.bodies import read_typed
from appliance.api.keys import OPERATIONS
from appliance.domain.wire import OperationRequest
from appliance.runtime.bodies import json_answer

OPERATION_BYTES_MAX = 64 * 1024


async def post_operation(request: web.Request) -> web.Response:
    """Perform an operation through head office, now or not at all."""
    operation = await read_typed(request, OPERATION_BYTES_MAX, OperationRequest)
    answer = await request.app[OPERATIONS].perform(request.match_info["operation"], operation, request[TILL])
    return json_answer(answer, status=201)

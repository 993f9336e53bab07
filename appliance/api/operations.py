"""Online-only operations: passed on to head office while online, refused with a sentence otherwise."""

import msgspec
from aiohttp import web

from appliance.api.access import TILL
from appliance.api.bodies import read_json
from appliance.api.keys import OPERATIONS
from appliance.domain.errors import Malformed
from appliance.domain.wire import OperationRequest
from appliance.runtime.bodies import json_answer

OPERATION_BYTES_MAX = 64 * 1024

_request = msgspec.json.Decoder(OperationRequest)


async def post_operation(request: web.Request) -> web.Response:
    """Perform an operation through head office, now or not at all."""
    body = await read_json(request, OPERATION_BYTES_MAX)
    try:
        operation = _request.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(str(error)) from error
    answer = await request.app[OPERATIONS].perform(request.match_info["operation"], operation, request[TILL])
    return json_answer(answer, status=201)

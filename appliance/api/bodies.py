"""What tills send: JSON, soon."""

from typing import TypeVar

import msgspec
from aiohttp import web

from appliance.domain.errors import Malformed
from appliance.runtime.bodies import JSON, read_body

# A sale is sent in milliseconds; who takes longer holds a place that another till may need.
BODY_S = 5.0

Body = TypeVar("Body")


async def read_json(request: web.Request, bytes_max: int) -> bytes:
    """The body of a JSON request. Raises what `read_body` raises."""
    return await read_body(request, JSON, bytes_max, within_s=BODY_S)


async def read_typed(request: web.Request, bytes_max: int, kind: type[Body]) -> Body:
    """The body as what it must be. Raises what `read_body` raises, and Malformed."""
    body = await read_json(request, bytes_max)
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(str(error)) from error

"""What tills send: JSON, soon."""

from aiohttp import web

from appliance.runtime.bodies import JSON, read_body

# A sale is sent in milliseconds; who takes longer holds a place that another till may need.
BODY_S = 5.0


async def read_json(request: web.Request, bytes_max: int) -> bytes:
    """The body of a JSON request. Raises what `read_body` raises."""
    return await read_body(request, JSON, bytes_max, within_s=BODY_S)

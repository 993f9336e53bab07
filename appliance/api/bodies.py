"""Bodies in and out: JSON only, bounded, typed."""

import asyncio

import msgspec
from aiohttp import web

from appliance.domain import digest
from appliance.domain.errors import TooLarge, TooSlow, UnsupportedMedia

# A sale is sent in milliseconds; who takes longer holds a place that another till may need.
BODY_S = 5.0


async def read_json(request: web.Request, bytes_max: int) -> bytes:
    """The body of a JSON request.

    Raises UnsupportedMedia (another type, or compressed), TooLarge, TooSlow, Altered.
    """
    if request.content_type != "application/json":
        raise UnsupportedMedia(f"send application/json, not {request.content_type}")
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise UnsupportedMedia("send the body uncompressed")
    if (request.content_length or 0) > bytes_max:
        raise TooLarge(f"at most {bytes_max} bytes")
    try:
        async with asyncio.timeout(BODY_S):
            body = await request.read()  # the application's client_max_size bounds a body of unknown length
    except TimeoutError as error:
        raise TooSlow(f"the body must come within {BODY_S:.0f} s") from error
    if len(body) > bytes_max:
        raise TooLarge(f"at most {bytes_max} bytes")
    digest.check_digest(request.headers.get(digest.HEADER), body)
    return body


def json_answer(view: msgspec.Struct, status: int = 200) -> web.Response:
    """A typed answer as JSON."""
    return web.Response(body=msgspec.json.encode(view), status=status, content_type="application/json")

"""Bodies in and out of a server: of the type that is expected, bounded, unaltered on their way."""

import asyncio
from typing import Any

import msgspec
from aiohttp import hdrs, web

from appliance.domain import digest
from appliance.domain.errors import TooLarge, TooSlow, UnsupportedMedia

JSON = "application/json"


async def read_body(
    request: web.Request, media: str, bytes_max: int, *, within_s: float | None = None
) -> bytes:
    """The body, when it is of this media type; `within_s` is how long it may take to come (None: as it likes).

    Raises UnsupportedMedia (also when it is compressed), TooLarge, TooSlow, Altered.
    """
    if request.content_type != media:
        raise UnsupportedMedia(f"send {media}, not {request.content_type}")
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity") != "identity":
        raise UnsupportedMedia("send the body without a content encoding")
    if (request.content_length or 0) > bytes_max:
        raise TooLarge(f"at most {bytes_max} bytes")
    try:
        async with asyncio.timeout(within_s):
            body = await request.read()  # the application's client_max_size bounds a body of unknown length
    except TimeoutError as error:
        raise TooSlow(f"the body must come within {within_s} s") from error
    if len(body) > bytes_max:
        raise TooLarge(f"at most {bytes_max} bytes")
    digest.check_digest(request.headers.get(digest.HEADER), body)
    return body


def json_answer(view: Any, status: int = 200) -> web.Response:
    """A typed answer as JSON."""
    return web.Response(body=msgspec.json.encode(view), status=status, content_type=JSON)

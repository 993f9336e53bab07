"""Bodies in and out: bounded, typed, in pages."""

from typing import Any, TypeVar

import msgspec
from aiohttp import hdrs, web

from appliance.domain import digest
from appliance.domain.errors import BadInput, Malformed, TooLarge, UnsupportedMedia

Parsed = TypeVar("Parsed")

JSON = "application/json"
NDJSON = "application/x-ndjson"

LIMIT_DEFAULT, LIMIT_MAX = 1_000, 10_000
# What fits into the databases' integers and into every JSON reader's.
NUMBER_MAX = 2**53 - 1


async def read_body(request: web.Request, media: str, bytes_max: int) -> bytes:
    """The body, when it is of this media type.

    Raises UnsupportedMedia (also when it is compressed), TooLarge, Altered.
    """
    if request.content_type != media:
        raise UnsupportedMedia(f"send {media}, not {request.content_type}")
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity") != "identity":
        raise UnsupportedMedia("send the body without a content encoding")
    if (request.content_length or 0) > bytes_max:
        raise TooLarge(f"at most {bytes_max} bytes")
    body = await request.read()  # the application's client_max_size bounds a body of unknown length
    if len(body) > bytes_max:
        raise TooLarge(f"at most {bytes_max} bytes")
    digest.check_digest(request.headers.get(digest.HEADER), body)
    return body


async def read_json(request: web.Request, kind: type[Parsed], bytes_max: int) -> Parsed:
    """A JSON body as its type. Raises Malformed beside what `read_body` raises."""
    body = await read_body(request, JSON, bytes_max)
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(str(error)) from error


def number(request: web.Request, name: str, default: int | None = None) -> int:
    """A number in the query or the path. Raises BadInput when it is none, out of range, or missing without default."""
    text = request.match_info.get(name) or request.query.get(name)
    if text is None and default is not None:
        return default
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > 16 or int(text) > NUMBER_MAX:
        raise BadInput(f"{name} must be a number from 0 to {NUMBER_MAX}")
    return int(text)


def limit(request: web.Request) -> int:
    """How many rows are asked for; never more than the most, which is also how a large page is cut."""
    asked = number(request, "limit", LIMIT_DEFAULT)
    if asked == 0:
        raise BadInput("limit must be at least 1")
    return min(asked, LIMIT_MAX)


def json_answer(view: Any, status: int = 200) -> web.Response:
    """A typed answer as JSON."""
    return web.Response(body=msgspec.json.encode(view), status=status, content_type=JSON)


def lines_answer(rows: list[Any]) -> web.Response:
    """Typed rows as NDJSON."""
    return web.Response(body=b"".join(msgspec.json.encode(row) + b"\n" for row in rows), content_type=NDJSON)

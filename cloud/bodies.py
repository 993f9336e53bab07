"""What head office is sent and asked for: typed bodies, numbers, pages."""

from typing import Any, TypeVar

import msgspec
from aiohttp import web

from appliance.domain.errors import BadInput, Malformed
from appliance.runtime.bodies import JSON, read_body

Parsed = TypeVar("Parsed")

NDJSON = "application/x-ndjson"

LIMIT_DEFAULT, LIMIT_MAX = 1_000, 10_000
# What fits into the databases' integers and into every JSON reader's.
NUMBER_MAX = 2**53 - 1


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


def lines_answer(rows: list[Any]) -> web.Response:
    """Typed rows as NDJSON."""
    return web.Response(body=b"".join(msgspec.json.encode(row) + b"\n" for row in rows), content_type=NDJSON)

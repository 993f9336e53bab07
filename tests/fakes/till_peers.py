"""What the small box and the small cloud of a till have in common: tokens, the hour, the form of an answer."""

import msgspec
from aiohttp import web

TOKEN = "box-token"
CLOUD_TOKEN = "cloud-token"
AT = "2026-11-22T08:30:00.000Z"


def json_answer(view: msgspec.Struct, status: int = 200) -> web.Response:
    """A view as both of them send it."""
    return web.Response(body=msgspec.json.encode(view), status=status, content_type="application/json")

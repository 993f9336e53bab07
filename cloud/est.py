"""Enrolment over HTTP: the paths and meanings of EST (RFC 7030), bodies of our own (docs/PROTOCOL.md)."""

from aiohttp import web

from appliance.domain.dsse import ENVELOPE_BYTES_MAX
from appliance.domain.wire import ENVELOPE_MEDIA
from appliance.runtime.bodies import json_answer, read_body
from cloud.parts import PARTS


async def post_enrolment(request: web.Request) -> web.Response:
    """POST /.well-known/est/simpleenroll. Open to all: the envelope itself must prove the right to enter."""
    envelope = await read_body(request, ENVELOPE_MEDIA, ENVELOPE_BYTES_MAX)
    return json_answer(await request.app[PARTS].enrolment.enrol(envelope), status=201)


ROUTES = (web.post("/.well-known/est/simpleenroll", post_enrolment),)

"""Enrolment over HTTP: the paths and meanings of EST (RFC 7030), bodies of our own (docs/PROTOCOL.md)."""

import base64

from aiohttp import web

from appliance.domain.dsse import ENVELOPE_BYTES_MAX
from appliance.domain.wire import ENVELOPE_MEDIA
from appliance.runtime.bodies import json_answer, read_body
from appliance.runtime.problem import Handler
from cloud.parts import PARTS

CERTIFICATES_MEDIA = "application/pkcs7-mime"


async def get_certificates(request: web.Request) -> web.Response:
    """GET /.well-known/est/cacerts, as RFC 7030 section 4.1.3 has it. Open to all: who knows the pin finds the root."""
    body = base64.encodebytes(request.app[PARTS].authority.cacerts())
    headers = {"Content-Transfer-Encoding": "base64"}
    return web.Response(body=body, content_type=CERTIFICATES_MEDIA, headers=headers)


async def post_enrolment(request: web.Request) -> web.Response:
    """POST /.well-known/est/simpleenroll. Open to all: the envelope itself must prove the right to enter."""
    envelope = await read_body(request, ENVELOPE_MEDIA, ENVELOPE_BYTES_MAX)
    return json_answer(await request.app[PARTS].enrolment.enrol(envelope), status=201)


async def post_renewal(request: web.Request) -> web.Response:
    """POST /.well-known/est/simplereenroll. Open to all: the envelope is signed by the box's event key."""
    envelope = await read_body(request, ENVELOPE_MEDIA, ENVELOPE_BYTES_MAX)
    return json_answer(await request.app[PARTS].renewal.renew(envelope), status=201)


def _counted(handler: Handler) -> Handler:
    """Anybody, as often as an address may ask: before anything is read."""

    async def counted(request: web.Request) -> web.StreamResponse:
        request.app[PARTS].strangers.admit(request.remote or "")
        return await handler(request)

    return counted


ROUTES = (
    web.get("/.well-known/est/cacerts", _counted(get_certificates)),
    web.post("/.well-known/est/simpleenroll", _counted(post_enrolment)),
    web.post("/.well-known/est/simplereenroll", _counted(post_renewal)),
)

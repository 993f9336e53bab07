"""Head office as whom a box must first come to know: its authority by a pin, then enrolment (EST, RFC 7030).

The authority is fetched from a server that nobody has verified (RFC 7030 4.1.1); what is kept of the answer is the one
root whose key the claim pins. Only then is anything sent, on another connection, to a server that this root vouches
for. Whoever stands between can prevent an enrolment, but neither hear nor answer it.
"""

import base64
import binascii
import ssl

import aiohttp
import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import load_der_pkcs7_certificates

from appliance.domain import wire
from appliance.domain.dsse import spki_fingerprint
from appliance.domain.enrolling import Claim, EnrolAnswer
from appliance.domain.errors import CloudRefused, CloudUnreachable
from appliance.domain.link import Cause
from appliance.gateways.answers import read_bounded
from appliance.gateways.identity import Enrolment, Identity
from appliance.gateways.patience import PATIENCE
from appliance.gateways.probes import cause_of
from appliance.runtime.tls import JudgedContext, client_context, dates_judge, unverified_context
from appliance.runtime.trusted_time import TrustedClock

CACERTS = "/.well-known/est/cacerts"
ENROL = "/.well-known/est/simpleenroll"
# An enrolment brings certificates and a policy; what is larger does not come from our cloud.
ANSWER_BYTES_MAX = 1024 * 1024


class EnrolmentOffice:
    """Head office, for a box that is not of it yet. Implements services.enrolling.Office."""

    def __init__(self, time: TrustedClock) -> None:
        self._time = time

    async def enrol(self, claim: Claim, url: str, request: bytes) -> EnrolAnswer:
        """Exchange a signed request for an enrolment. Raises CloudUnreachable or CloudRefused."""
        return await enrol(url, request, await self._context(claim, url))

    async def _context(self, claim: Claim, url: str) -> ssl.SSLContext | None:
        if url.startswith("http://"):
            if claim.pin:
                raise CloudUnreachable("the claim asks for TLS, the address does not", cause=Cause.TLS)
            return None
        root = await fetch_authority(url, claim.pin) if claim.pin else None
        return client_context(authority=root, judge=dates_judge(self._time), identity=None)


def office_context(
    url: str, enrolment: Enrolment, identity: Identity, time: TrustedClock
) -> JudgedContext | None:
    """How an enrolled box and head office prove themselves to each other on a connection; None: without TLS. Blocks."""
    if url.startswith("http://"):
        return None
    return client_context(
        authority=enrolment.authority(), judge=dates_judge(time), identity=identity.client_identity()
    )


async def fetch_authority(url: str, pin: str) -> str:
    """The root (PEM) with this key, as the server at this address names it. Raises CloudUnreachable."""

    body = await _asked(url, "GET", CACERTS, b"", unverified_context())
    try:
        # RFC 7030 4.1.3: certs-only PKCS#7, base64.
        roots = load_der_pkcs7_certificates(base64.b64decode(body))
    except (binascii.Error, ValueError, UnsupportedAlgorithm) as error:
        raise CloudUnreachable(
            "the authority of head office cannot be read", cause=Cause.CAPTIVE_PORTAL
        ) from error
    for root in roots:
        if _spki(root) == pin:
            return root.public_bytes(Encoding.PEM).decode()
    raise CloudUnreachable("who answers is not the head office that gave the claim", cause=Cause.TLS)


async def enrol(url: str, request: bytes, context: ssl.SSLContext | None = None) -> EnrolAnswer:
    """Exchange a signed request for an enrolment. Raises CloudUnreachable or CloudRefused."""

    body = await _asked(url, "POST", ENROL, request, context)
    try:
        return msgspec.json.decode(body, type=EnrolAnswer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CloudUnreachable(
            f"the enrolment cannot be read: {error}", cause=Cause.CAPTIVE_PORTAL
        ) from error


async def _asked(url: str, method: str, path: str, body: bytes, context: ssl.SSLContext | None) -> bytes:
    headers = {"Content-Type": wire.ENVELOPE_MEDIA} if body else {}
    try:
        async with (
            aiohttp.ClientSession(url, timeout=PATIENCE.call) as session,
            session.request(
                method, path, data=body or None, headers=headers, ssl=context or True, allow_redirects=False
            ) as response,
        ):
            answer = await read_bounded(response, ANSWER_BYTES_MAX)
            if response.status in (200, 201):
                return answer
            if response.content_type == "application/problem+json" and response.status < 500:
                raise _refusal(response.status, answer)
            raise CloudUnreachable(f"{path} answered {response.status}", cause=Cause.CLOUD_DOWN)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise CloudUnreachable(f"{path}: {error!r}", cause=cause_of(error)) from error


class _Problem(msgspec.Struct, frozen=True):
    code: str = ""
    detail: str = ""


def _refusal(status: int, body: bytes) -> Exception:
    try:
        said = msgspec.json.decode(body, type=_Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = _Problem()
    if status in (408, 429):
        return CloudUnreachable(f"head office answered {status}", cause=Cause.CLOUD_DOWN)
    return CloudRefused(f"head office refuses: {said.detail}", status=status, problem=said.code)


def _spki(certificate: x509.Certificate) -> str:
    try:
        return spki_fingerprint(certificate.public_key())
    except (ValueError, UnsupportedAlgorithm):
        return ""

"""Requests that prove their own key, and the signed time in the answers to them."""

import base64
import binascii
from datetime import datetime
from typing import TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance.domain import statements
from appliance.domain.dsse import Envelope, Signer, read_envelope, spki_fingerprint
from appliance.domain.enrolling import EnrolRequest
from appliance.domain.errors import ConfigError, Malformed
from appliance.domain.statements import ENROLMENT_TYPE, PROBE_TYPE, ProbeAnswer
from appliance.runtime.clock import rfc3339
from appliance.runtime.keyfile import read_public_pem

Request = TypeVar("Request")

_envelopes = msgspec.json.Decoder(Envelope)


def unproven(envelope: bytes, kind: type[Request]) -> Request:
    """What an envelope says, only to find the key that must have signed it. Raises Malformed."""
    try:
        payload = base64.b64decode(_envelopes.decode(envelope).payload, validate=True)
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.DecodeError, binascii.Error, ValueError, RecursionError) as error:
        raise Malformed(f"not a signed request: {error}") from error


def proven(envelope: bytes) -> tuple[EnrolRequest, Ed25519PublicKey]:
    """The request and the key that it names and that signed it: only then is any of it believed.

    Raises Malformed, BadSignature.
    """
    try:
        key = read_public_pem(unproven(envelope, EnrolRequest).public_key)
    except (ConfigError, ValueError) as error:
        raise Malformed(f"not a signed enrolment: {error}") from error
    return statements.verify(envelope, ENROLMENT_TYPE, EnrolRequest, {spki_fingerprint(key): key}), key


def heard(signer: Signer, box: str, nonce: str, at: datetime) -> Envelope:
    """The time, signed over the nonce of a request."""
    return read_envelope(statements.sign(signer, PROBE_TYPE, ProbeAnswer(box, nonce, rfc3339(at))))

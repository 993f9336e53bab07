"""DSSE 1.0 envelopes (secure-systems-lab/dsse, protocol.md) with Ed25519 signatures (RFC 8032).

The signature covers the payload's *type* and its verbatim bytes; after verification the caller parses exactly the
bytes that were verified, never a re-encoding. A key id is only a hint which trusted key to try.
"""

import base64
import hashlib
from collections.abc import Mapping
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from appliance.domain.errors import BadSignature

# An envelope holds a head, a receipt, a probe or a policy: all far below this.
ENVELOPE_BYTES_MAX = 64 * 1024


class Signature(msgspec.Struct, frozen=True):
    """One signature; `sig` is base64."""

    keyid: str
    sig: str


class Envelope(msgspec.Struct, frozen=True, rename={"payload_type": "payloadType"}):
    """The JSON form of an envelope; `payload` is base64 of the signed bytes.

    One signature: nobody here signs twice, and a second one would be bytes that nobody checks.
    """

    payload: str
    payload_type: str
    signatures: Annotated[list[Signature], msgspec.Meta(min_length=1, max_length=1)]


_decoder = msgspec.json.Decoder(Envelope)


def pae(payload_type: str, payload: bytes) -> bytes:
    """Pre-authentication encoding: the bytes that are really signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def spki_fingerprint(key: PublicKeyTypes) -> str:
    """Base64url without padding of the SHA-256 of the key's SubjectPublicKeyInfo (43 characters)."""
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.urlsafe_b64encode(hashlib.sha256(spki).digest()).rstrip(b"=").decode()


class Signer:
    """Signs payloads with one Ed25519 key, named by its fingerprint."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public_key = key.public_key()
        self.key_id = spki_fingerprint(self.public_key)

    def envelope(self, payload_type: str, payload: bytes) -> bytes:
        """The envelope's JSON for these payload bytes: one line, without a line feed."""
        signature = self._key.sign(pae(payload_type, payload))
        return msgspec.json.encode(
            Envelope(
                payload=base64.b64encode(payload).decode(),
                payload_type=payload_type,
                signatures=[Signature(self.key_id, base64.b64encode(signature).decode())],
            )
        )


def read_envelope(envelope: bytes) -> Envelope:
    """The envelope in these bytes; nothing is verified. Raises BadSignature for what is none."""
    if len(envelope) > ENVELOPE_BYTES_MAX:
        raise BadSignature("the envelope is too large")
    try:
        return _decoder.decode(envelope)
    except (ValueError, RecursionError) as error:
        raise BadSignature(f"not a DSSE envelope: {error}") from error


def open_envelope(
    envelope: bytes | Envelope, payload_type: str, keys: Mapping[str, Ed25519PublicKey]
) -> bytes:
    """The payload bytes, once a trusted key's signature over them and their type holds.

    `keys` maps fingerprints to trusted keys. Raises BadSignature for anything else, also for what is no envelope.
    """
    parsed = envelope if isinstance(envelope, Envelope) else read_envelope(envelope)
    try:
        payload = base64.b64decode(parsed.payload, validate=True)
        signature = base64.b64decode(parsed.signatures[0].sig, validate=True)
    except ValueError as error:
        raise BadSignature(f"not a DSSE envelope: {error}") from error
    if parsed.payload_type != payload_type:
        raise BadSignature(f"the envelope holds {parsed.payload_type!r}, not {payload_type!r}")
    key_id = parsed.signatures[0].keyid
    key = keys.get(key_id)
    if key is None:
        raise BadSignature("signed by no trusted key", key_id=key_id)
    try:
        key.verify(signature, pae(payload_type, payload))
    except InvalidSignature as error:
        raise BadSignature(f"the signature by {key_id} does not hold") from error
    return payload

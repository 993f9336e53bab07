"""What box and cloud sign for each other: heads, receipts, probes and policies. All are DSSE payloads.

- A *signed head* (box): "my chain of this epoch ends here"; it vouches for every event before it.
- A *receipt* (cloud): "I hold everything up to here"; only it lets the box free events, and its time can be trusted
  as a floor because it echoes the box's nonce.
- An *anchor* (box): "I pruned my chain up to here, receipted as it was"; what follows is still proven.
- A *probe answer* (cloud): the nonce of a question, so that no captive portal can fake a line.
- An *offer* (cloud): the update that a box may take (`update.py`).

What is signed about keys (rotation, TLS key, succession) is in `keychain.py`.

All of it is kept, and read by the release before: fields that it does not know are passed over. What would mean another
thing without them is a statement of another type.
"""

from collections.abc import Mapping
from typing import TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance.domain.canonical import canonical
from appliance.domain.dsse import Envelope, Signer, open_envelope
from appliance.domain.errors import BadSignature
from appliance.domain.event import HASH_BYTES, Position

HEAD_TYPE = "application/vnd.storebox.head.v1+json"
RECEIPT_TYPE = "application/vnd.storebox.receipt.v1+json"
PROBE_TYPE = "application/vnd.storebox.probe.v1+json"
HEARTBEAT_TYPE = "application/vnd.storebox.heartbeat.v1+json"
POLICY_TYPE = "application/vnd.storebox.policy.v1+json"
ANCHOR_TYPE = "application/vnd.storebox.anchor.v1+json"
ENROLMENT_TYPE = "application/vnd.storebox.enrolment.v1+json"
RENEWAL_TYPE = "application/vnd.storebox.renewal.v1+json"
ROTATION_TYPE = "application/vnd.storebox.rotation.v1+json"
TLS_KEY_TYPE = "application/vnd.storebox.tls-key.v1+json"
OFFER_TYPE = "application/vnd.storebox.offer.v1+json"
SUCCESSION_TYPE = "application/vnd.storebox.succession.v1+json"

Keys = Mapping[str, Ed25519PublicKey]
Statement = TypeVar("Statement")


class Head(msgspec.Struct, frozen=True):
    """Signed by the box: its chain of `epoch` ends at `seq` with hash `head` (hex)."""

    box: str
    epoch: int
    seq: int
    head: str

    @property
    def position(self) -> Position:
        """The same as a place in the chain."""
        return Position(self.epoch, self.seq, bytes.fromhex(self.head))


class Receipt(msgspec.Struct, frozen=True):
    """Signed by the cloud: it holds every event of `epoch` up to `seq`, whose hash is `head` (hex)."""

    box: str
    epoch: int
    seq: int
    head: str
    at: str
    nonce: str

    @property
    def position(self) -> Position:
        """The same as a place in the chain."""
        return Position(self.epoch, self.seq, bytes.fromhex(self.head))


class Anchor(msgspec.Struct, frozen=True):
    """Signed by the box: it pruned `epoch` up to and with `seq`, whose hash is `head` (hex)."""

    box: str
    epoch: int
    seq: int
    head: str
    at: str

    @property
    def position(self) -> Position:
        """The same as a place in the chain."""
        return Position(self.epoch, self.seq, bytes.fromhex(self.head))


class ProbeAnswer(msgspec.Struct, frozen=True):
    """Signed by the cloud: it heard this box's nonce at `at`."""

    box: str
    nonce: str
    at: str


def sign(signer: Signer, payload_type: str, statement: object) -> bytes:
    """A statement's envelope: one line of JSON."""
    return signer.envelope(payload_type, canonical(statement))


def verify(envelope: bytes | Envelope, payload_type: str, kind: type[Statement], keys: Keys) -> Statement:
    """The statement, once signed by one of `keys`. Raises BadSignature otherwise, or when it does not parse."""
    payload = open_envelope(envelope, payload_type, keys)
    try:
        statement = msgspec.json.decode(payload, type=kind)
    except (ValueError, RecursionError) as error:
        raise BadSignature(f"the signed bytes are no {kind.__name__}: {error}") from error
    if isinstance(statement, Head | Receipt | Anchor):
        _check_hash(statement.head)
    return statement


def _check_hash(text: str) -> None:
    try:
        well_formed = len(bytes.fromhex(text)) == HASH_BYTES
    except ValueError:
        well_formed = False
    if not well_formed:
        raise BadSignature("the signed head is no SHA-256")

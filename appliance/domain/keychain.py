"""Keys that follow one another: what is signed when a box changes a key, or another box takes its place.

- A *key rotation* (box): "from now on my events are signed with this key", by the old key and by the new one. A box
  keeps the name that its first key gave it.
- A *TLS key* (box): "this key speaks for me on a connection"; only it lets a till take another one than it has pinned.
- A *succession* (cloud): "this box stands in that one's place"; only it lets a till move to another box by itself.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from appliance.domain.dsse import Envelope, Signer, read_envelope, spki_fingerprint
from appliance.domain.errors import BadSignature
from appliance.domain.statements import ROTATION_TYPE, Keys, sign, verify


class KeyRotation(msgspec.Struct, frozen=True):
    """The box `box` goes from key `old` to key `new` (PEM); it is its `number`th rotation, from 1."""

    box: str
    number: int
    old: str
    new: str
    at: str


class Rotation(msgspec.Struct, frozen=True):
    """One KeyRotation in two envelopes: signed by the key that goes and by the key that comes."""

    by_old: Envelope
    by_new: Envelope


class TlsKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Signed by the box: the TLS key with this SPKI hash (base64url) is its own."""

    box: str
    spki: str
    at: str


class Succession(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Signed by the cloud: box `new` with these keys took the place of `old` in `shop`."""

    old: str
    new: str
    fp: str
    spki: str
    shop: str
    at: str


class Keychain(NamedTuple):
    """The keys of one box: the one that signs now, all that were believed ever, and which of them are retired."""

    current: Ed25519PublicKey
    keys: Keys
    retired: frozenset[str]


def rotate(box: str, number: int, old: Signer, new: Signer, at: str) -> Rotation:
    """The statement that `new` follows `old`."""
    statement = KeyRotation(box, number, _pem(old.public_key), _pem(new.public_key), at)
    by_old, by_new = (read_envelope(sign(signer, ROTATION_TYPE, statement)) for signer in (old, new))
    return Rotation(by_old, by_new)


def keys_after(box: str, rotations: Sequence[Rotation], first: Ed25519PublicKey) -> Keychain:
    """Follow a box's rotations from a key that is believed; those before that key prove nothing here and are skipped.

    Raises BadSignature when they do not lead on from `first`, step by step, each signed by both keys.
    """
    fp = spki_fingerprint(first)
    current, keys, retired, number = first, {fp: first}, frozenset[str](), 0
    for place, rotation in enumerate(rotations):
        if not retired and rotation.by_old.signatures[0].keyid != fp:
            if place == len(rotations) - 1 and rotation.by_new.signatures[0].keyid != fp:
                raise BadSignature("the rotations do not lead on from the key that is believed")
            continue
        current_fp = spki_fingerprint(current)
        said, new = _verified(rotation, {current_fp: current})
        new_fp = spki_fingerprint(new)
        if said.box != box or said.old != _pem(current):
            raise BadSignature("the rotation is of another box or of another key")
        if (retired and said.number != number + 1) or new_fp in keys:
            raise BadSignature("the rotations do not follow one another")
        current, number = new, said.number
        keys, retired = {**keys, new_fp: new}, retired | {current_fp}
    return Keychain(current, keys, retired)


def _verified(rotation: Rotation, old: Keys) -> tuple[KeyRotation, Ed25519PublicKey]:
    said = verify(rotation.by_old, ROTATION_TYPE, KeyRotation, old)
    try:
        new = load_pem_public_key(said.new.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadSignature(f"the new key cannot be read: {error}") from error
    if not isinstance(new, Ed25519PublicKey):
        raise BadSignature("the new key is no Ed25519 key")
    if verify(rotation.by_new, ROTATION_TYPE, KeyRotation, {spki_fingerprint(new): new}) != said:
        raise BadSignature("the two keys signed different rotations")
    return said, new


def _pem(key: Ed25519PublicKey) -> str:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

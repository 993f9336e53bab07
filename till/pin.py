"""Which box a till trusts: the key it met first, and nothing but that key until somebody decides otherwise.

mDNS and `/v1/hello` only claim; what proves a box is a signed head that verifies under the pinned key.
"""

import asyncio
import base64
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance.domain.dsse import spki_fingerprint
from appliance.domain.errors import BadSignature, ConfigError
from appliance.domain.event import HASH_BYTES
from appliance.domain.identity import box_id
from appliance.domain.keychain import KeyRotation, Rotation, keys_after
from appliance.domain.statements import HEAD_TYPE, Head, Keys, verify
from appliance.domain.wire import Ack, Hello
from appliance.runtime.files import write_whole
from appliance.runtime.keyfile import read_public_pem
from till.errors import NotOurBox


class Identity(msgspec.Struct, frozen=True):
    """A box by its keys: `box` follows from its first one, `fp` from the one that signs now; `keys` are all of them."""

    box: str
    fp: str
    keys: Keys

    def check_ack(self, ack: Ack, sale_id: str) -> None:
        """Return when this box vouches for that sale: its signed head stands at or behind the sale's place.

        Raises BadSignature otherwise. The event's hash is only known to be well formed, except at the head itself:
        the till does not hold the event that the box made of its sale.
        """
        head = verify(bytes(ack.head), HEAD_TYPE, Head, self.keys)
        if ack.sale_id != sale_id or ack.box != self.box or head.box != self.box:
            raise BadSignature(f"an ack of {ack.box} for {ack.sale_id}, not of {self.box} for {sale_id}")
        if not _is_hash(ack.hash) or ack.seq < 1 or head.epoch != ack.epoch or head.seq < ack.seq:
            raise BadSignature(
                f"the head at {head.epoch}/{head.seq} does not vouch for {ack.epoch}/{ack.seq}"
            )
        if head.seq == ack.seq and head.head != ack.hash:
            raise BadSignature(f"the head at {head.epoch}/{head.seq} names another event than the ack")


def _is_hash(text: str) -> bool:
    try:
        return len(bytes.fromhex(text)) == HASH_BYTES
    except ValueError:
        return False


def identity_of(hello: Hello) -> Identity:
    """Who the hello claims to be. Raises NotOurBox when its names do not follow from its keys."""
    try:
        key = read_public_pem(hello.key)
        first = key if not hello.rotations else _first_key(hello.rotations[0])
        chain = keys_after(hello.box, hello.rotations, first)
    except (BadSignature, ConfigError) as error:
        raise NotOurBox(f"{hello.box} shows a key that is none of its own: {error}") from error
    if spki_fingerprint(key) != hello.fp or spki_fingerprint(chain.current) != hello.fp:
        raise NotOurBox(f"{hello.box} shows a key that is not its own")
    if box_id(first) != hello.box:
        raise NotOurBox(f"{hello.box} shows a key that is not its own")
    return Identity(hello.box, hello.fp, chain.keys)


def goes_on(known: Hello, met: Hello) -> Identity:
    """The identity of a box that was known as `known` and shows itself as `met`: the same, or with later keys.

    Raises NotOurBox otherwise; also when it shows fewer rotations than it had: a retired key opens nothing again.
    """
    identity = identity_of(met)
    as_before = met.rotations[: len(known.rotations)] == known.rotations
    if met.box != known.box or known.fp not in identity.keys or not as_before:
        raise NotOurBox(
            f"{met.box} answers with a key that does not follow from that of {known.box}",
            known=known.box,
            met=met.box,
        )
    return identity


def _first_key(rotation: Rotation) -> Ed25519PublicKey:
    """The key that a box's first rotation left. Nothing is proven by it: `keys_after` and `box_id` do that."""
    try:
        payload = base64.b64decode(rotation.by_old.payload, validate=True)
        return read_public_pem(msgspec.json.decode(payload, type=KeyRotation).old)
    except (ValueError, RecursionError) as error:
        raise BadSignature(f"the first rotation cannot be read: {error}") from error


class PinFile:
    """The pinned box on disk: its hello, as it was met first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.pinned: Identity | None = None

    def load(self) -> None:
        """Read the pin, if there is one; not on the event loop.

        Raises ConfigError when it is damaged: nobody is trusted by accident.
        """
        if not self._path.exists():
            return
        try:
            self.pinned = identity_of(msgspec.json.decode(self._path.read_bytes(), type=Hello))
        except (msgspec.DecodeError, NotOurBox) as error:
            raise ConfigError(f"{self._path}: {error}") from error

    def check(self, identity: Identity) -> None:
        """Raises NotOurBox when another box is pinned."""
        if self.pinned is not None and self.pinned.fp not in identity.keys:
            raise NotOurBox(
                f"{identity.box} answers, but this till knows {self.pinned.box}; "
                f"if the box was replaced, remove {self._path}",
                known=self.pinned.box,
                met=identity.box,
            )

    async def pin(self, hello: Hello) -> None:
        """Trust this box from now on; on disk when this returns. Does nothing when it is pinned already."""
        identity = identity_of(hello)
        self.check(identity)
        if self.pinned is None:
            await asyncio.to_thread(write_whole, self._path, msgspec.json.encode(hello))
            self.pinned = identity

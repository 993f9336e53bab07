"""A box without a box: a key, a chain that grows as a test says, and what the wire carries of it."""

import secrets
from collections.abc import Sequence
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.domain import batch, event
from appliance.domain.canonical import canonical
from appliance.domain.dsse import Signer
from appliance.domain.enrolling import EnrolRequest
from appliance.domain.event import GENESIS, ClockReading, Position, Sealed
from appliance.domain.flags import flags
from appliance.domain.health import Heartbeat
from appliance.domain.identity import box_id
from appliance.domain.sale import Sale
from appliance.domain.statements import ENROLMENT_TYPE, HEAD_TYPE, HEARTBEAT_TYPE, Head, sign
from appliance.runtime.clock import rfc3339
from appliance.runtime.keyfile import public_pem
from tests.fakes.clock import OPENING


class LooseBox:
    """Seals events and packs them, also wrongly when a test asks for it."""

    def __init__(self, seed: int | None = None) -> None:
        key = Ed25519PrivateKey.from_private_bytes(
            secrets.token_bytes(32) if seed is None else seed.to_bytes(32, "big")
        )
        self.signer = Signer(key)
        self.name = box_id(self.signer.public_key)
        self.keys = {self.signer.key_id: self.signer.public_key}

    def seal(self, after: Position, kind: str, data: Any, till: str | None = None) -> Sealed:
        """The event behind `after`."""
        clock = ClockReading("synced", "boot-1", 1)
        return event.seal(
            after, box=self.name, kind=kind, till=till, at=rfc3339(OPENING), clock=clock, data=data
        )

    def chain(
        self,
        contents: Sequence[Sale | dict[str, Any]],
        after: Position | None = None,
        *,
        kind: str = "noted",
    ) -> list[Sealed]:
        """Sales as `sale` events, anything else as `kind`; from the start of epoch 1 unless told otherwise."""
        end, sealed = after or Position(1, 0, GENESIS), []
        for content in contents:
            if isinstance(content, Sale):
                data = {"sale": msgspec.Raw(content.encode()), "flags": flags(content)}
                one = self.seal(end, "sale", data, content.till_id)
            else:
                one = self.seal(end, kind, content)
            end = Position(end.epoch, one.link.seq, one.hash)
            sealed.append(one)
        return sealed

    def notes(self, count: int, after: Position | None = None) -> list[Sealed]:
        """A chain of that many events that are no sales."""
        return self.chain([{"number": number} for number in range(count)], after)

    def head(self, last: Sealed, **fields: Any) -> bytes:
        """The signed head that names this event; fields can be made wrong."""
        true = {"box": self.name, "epoch": last.link.epoch, "seq": last.link.seq, "head": last.hash.hex()}
        return sign(self.signer, HEAD_TYPE, Head(**{**true, **fields}))

    def pack(self, sealed: Sequence[Sealed]) -> bytes:
        """A batch of these events under their signed head."""
        return batch.pack(self.head(sealed[-1]), [one.body for one in sealed])

    def enrolment(self, token: str, *, signer: Signer | None = None) -> bytes:
        """The signed request to be let in; by another key when a test asks for it."""
        request = EnrolRequest(token, public_pem(self.signer.public_key), secrets.token_hex(16))
        return sign(signer or self.signer, ENROLMENT_TYPE, request)

    def heartbeat(self, **fields: Any) -> bytes:
        """A signed heartbeat of a box that is well; fields can be made otherwise."""
        return self.signer.envelope(HEARTBEAT_TYPE, canonical({**plain_heartbeat(self.name), **fields}))


def end_of(sealed: Sequence[Sealed]) -> Position:
    """Where a chain ends."""
    last = sealed[-1]
    return Position(last.link.epoch, last.link.seq, last.hash)


def plain_heartbeat(box: str) -> dict[str, Any]:
    """What a box says when all is well, as JSON values."""
    beat = Heartbeat(
        box=box,
        shop="S042",
        software="0.1.0",
        boot="boot-1",
        uptime_s=3_600.0,
        epoch=1,
        seq=0,
        head=GENESIS.hex(),
        synced_seq=0,
        backlog=0,
        oldest_waiting_s=0.0,
        link="online",
        cause="ok",
        mode="cloud",
        catalogue_version=0,
        catalogue_age_s=10.0,
        policy_version=1,
        tills_seen=2,
        disk_free_ratio=0.8,
        memory_rss_bytes=60_000_000,
        cpu_ratio=0.05,
    )
    plain: dict[str, Any] = msgspec.to_builtins(beat)
    return plain

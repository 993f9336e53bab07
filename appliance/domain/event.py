"""The event, and the chain it hangs in.

An event is verbatim bytes: canonical JSON made once by the box, then chained, stored, sent and verified unchanged.
`prev` is the SHA-256 of the previous event's bytes, zeros for the first of an epoch. An epoch opens at enrolment and
after every restore, so the place of an event is always (box, epoch, seq).
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

from appliance.domain.canonical import canonical
from appliance.domain.errors import BadEvent, Fork, Gap

HASH_BYTES = 32
GENESIS = bytes(HASH_BYTES)

# A sale of 500 lines is about 100 KiB; nothing the box accepts makes an event above this.
EVENT_BYTES_MAX = 512 * 1024

# The largest epoch and seq: integers that every JSON reader and SQLite keep exact (RFC 8785 section 3.2.2.3).
PLACE_MAX = 2**53 - 1

ClockQuality = Literal["unknown", "floor", "synced"]


class ClockReading(msgspec.Struct, frozen=True, gc=False):
    """What the box's clocks said, and how far to trust the wall clock.

    `quality`: unknown (never set), floor (not below a time known to have passed), synced (a trusted source agreed).
    `boot` names one run of the machine; `mono_ns` counts within it and never goes back.
    """

    quality: ClockQuality
    boot: str
    mono_ns: int


class Link(msgspec.Struct, frozen=True, gc=False):
    """The part of an event that makes the chain; the rest of the bytes does not decide whether it is stored."""

    box: str
    epoch: int
    seq: int
    prev: str
    kind: str


class Event(Link, frozen=True, gc=False):
    """The whole of an event. `data` stays verbatim; its meaning depends on `kind`."""

    till: str | None
    at: str
    clock: ClockReading
    data: msgspec.Raw


class Sealed(msgspec.Struct, frozen=True, gc=False):
    """An event's place, its bytes and their hash: what the journal stores and the wire carries."""

    link: Link
    body: bytes
    hash: bytes


class Position(msgspec.Struct, frozen=True, order=True, gc=False):
    """The end of a chain: the last seq of an epoch (0: none yet) and the hash of that event (GENESIS: none)."""

    epoch: int
    seq: int
    head: bytes


# Of 2,048 bytes or more (hashlib's HASHLIB_GIL_MINSIZE) the interpreter's lock is given away, and to get it back takes
# longer than to hash an event: one of up to twice that is hashed in two parts.
_UNSHARED_BYTES = 2_047
_UNSHARED_BYTES_MAX = 2 * _UNSHARED_BYTES

_links = msgspec.json.Decoder(Link)
_events = msgspec.json.Decoder(Event)


def digest(body: bytes) -> bytes:
    """SHA-256 of an event's bytes: its name in the chain."""
    if len(body) > _UNSHARED_BYTES_MAX:
        return hashlib.sha256(body).digest()
    hashing = hashlib.sha256(body[:_UNSHARED_BYTES])
    hashing.update(body[_UNSHARED_BYTES:])
    return hashing.digest()


def seal(
    after: Position, *, box: str, kind: str, till: str | None, at: str, clock: ClockReading, data: Any
) -> Sealed:
    """The event that follows `after`. `data` is any canonical JSON value, or msgspec.Raw of its canonical bytes."""
    raw = data if isinstance(data, msgspec.Raw) else msgspec.Raw(canonical(data))
    event = Event(
        box=box,
        epoch=after.epoch,
        seq=after.seq + 1,
        prev=after.head.hex(),
        kind=kind,
        till=till,
        at=at,
        clock=clock,
        data=raw,
    )
    body = canonical(event)
    return Sealed(event, body, digest(body))


def read(body: bytes) -> Sealed:
    """An event's place in the chain, from its bytes. Raises BadEvent when they name none.

    Nothing but the place is judged: what else the bytes say is stored as it is (design promise 6).
    """
    if len(body) > EVENT_BYTES_MAX:
        raise BadEvent(f"an event of {len(body)} bytes is over the limit of {EVENT_BYTES_MAX}")
    try:
        link = _links.decode(body)
        prev = bytes.fromhex(link.prev)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BadEvent(f"not an event: {error}") from error
    if not (0 < link.epoch <= PLACE_MAX and 0 < link.seq <= PLACE_MAX and len(prev) == HASH_BYTES):
        raise BadEvent(f"epoch {link.epoch}, seq {link.seq} or prev is out of range")
    return Sealed(link, body, digest(body))


def content(body: bytes) -> Event:
    """The whole event. Raises BadEvent when a field is missing or of another type."""
    try:
        return _events.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BadEvent(f"the event's content cannot be read: {error}") from error


def follow(after: Position, sealed: Sealed, *, box: str) -> Position:
    """The new end of the chain once `sealed` hangs behind `after`.

    Raises BadEvent (another box or epoch), Gap (seq jumps ahead), Fork (seq is taken, or prev names another event).
    """
    event = sealed.link
    if event.box != box or event.epoch != after.epoch:
        raise BadEvent(f"event of {event.box} epoch {event.epoch} in the chain of {box} epoch {after.epoch}")
    if event.seq > after.seq + 1:
        raise Gap(
            f"seq {event.seq} follows {after.seq}", epoch=after.epoch, seq=event.seq, expected=after.seq + 1
        )
    if event.seq < after.seq + 1:
        raise Fork(f"seq {event.seq} stands at or before {after.seq}", epoch=after.epoch, seq=event.seq)
    if event.prev != after.head.hex():
        raise Fork(
            f"seq {event.seq} names another event before it than the one there",
            epoch=after.epoch,
            seq=event.seq,
        )
    return Position(after.epoch, event.seq, sealed.hash)


def walk(after: Position, bodies: Iterable[bytes], *, box: str) -> Iterator[Sealed]:
    """Read and check events one after another from `after` on; yields each once it is proven to follow."""
    for body in bodies:
        sealed = read(body)
        after = follow(after, sealed, box=box)
        yield sealed

"""What stays of pruned events: the signed anchor where an epoch begins now, and for each sale what its ack repeats."""

import sqlite3

import msgspec

from appliance.domain import event as chain
from appliance.domain.canonical import canonical
from appliance.domain.errors import BadEvent, BadSignature
from appliance.domain.event import GENESIS, Position
from appliance.domain.statements import ANCHOR_TYPE, Anchor, Keys, verify

# The step of the schema that made these tables; a file from a dead box may be older.
_SINCE_STEP = 3

# Kinds of events that make a sale's id known.
SALE_KINDS = ("sale", "sale_conflict")


class Kept(msgspec.Struct, frozen=True):
    """What is left of a pruned sale: its event's hash, and a stub of its event."""

    hash: bytes
    stub: bytes


class _Data(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    flags: list[str] | msgspec.UnsetType = msgspec.UNSET
    sale: msgspec.Raw = msgspec.Raw(b"")
    sale_sha256: str = ""


class _Event(msgspec.Struct, frozen=True):
    """The part of a sale's event that an ack repeats, and its sale; in a stub the sale's digest."""

    at: str
    data: _Data


_events = msgspec.json.Decoder(_Event)


def stub_of(body: bytes) -> bytes:
    """What is kept of a sale's event. Raises BadEvent when it holds no sale."""
    try:
        found = _events.decode(body)
    except msgspec.DecodeError as error:
        raise BadEvent(f"the event of a sale holds none: {error}") from error
    return canonical(_Event(found.at, _Data(flags=found.data.flags, sale_sha256=sale_digest(body).hex())))


def sale_digest(body: bytes) -> bytes:
    """The SHA-256 of the sale in an event, or in what is kept of one."""
    data = _events.decode(body).data
    return bytes.fromhex(data.sale_sha256) or chain.digest(bytes(data.sale))


def kept_at(connection: sqlite3.Connection, place: int) -> Kept | None:
    """What is left of the sale that stood at a place."""
    row = connection.execute("SELECT hash, stub FROM kept WHERE place = ?", (place,)).fetchone()
    return Kept(*row) if row else None


def anchors(connection: sqlite3.Connection) -> dict[int, bytes]:
    """The signed anchor of each epoch that has one; none in a journal of a release that pruned nothing."""
    if connection.execute("PRAGMA user_version").fetchone()[0] < _SINCE_STEP:
        return {}
    return dict(connection.execute("SELECT epoch, envelope FROM anchor ORDER BY epoch").fetchall())


def begin_of(connection: sqlite3.Connection, epoch: int, *, box: str, keys: Keys) -> Position:
    """Where an epoch begins in this journal: behind its anchor, or from nothing. Raises BadSignature."""
    row = connection.execute("SELECT envelope FROM anchor WHERE epoch = ?", (epoch,)).fetchone()
    return Position(epoch, 0, GENESIS) if row is None else anchored(row[0], epoch, box=box, keys=keys)


def anchored(envelope: bytes, epoch: int, *, box: str, keys: Keys) -> Position:
    """The place that an anchor of this epoch names. Raises BadSignature when it is none that this box signed."""
    anchor = verify(envelope, ANCHOR_TYPE, Anchor, keys)
    if (anchor.box, anchor.epoch) != (box, epoch):
        raise BadSignature(f"the anchor is of {anchor.box} epoch {anchor.epoch}")
    return anchor.position

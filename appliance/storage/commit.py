"""One group of drafts into the chain: seal, store, sign. Runs on the writer's thread, inside its transaction."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from appliance.domain import event as chain
from appliance.domain.canonical import canonical
from appliance.domain.dsse import Signer
from appliance.domain.errors import BadEvent, SaleConflict, StorageFault
from appliance.domain.event import GENESIS, Position
from appliance.domain.flags import in_order
from appliance.domain.keychain import Rotation
from appliance.domain.statements import HEAD_TYPE, Head, Keys, sign, verify
from appliance.domain.tickets import Ticket
from appliance.runtime.clock import Clock, rfc3339
from appliance.storage import journal_tables as tables
from appliance.storage.kept import begin_of, kept_at, sale_digest
from appliance.storage.packing import Packer
from appliance.storage.ticket_book import TicketBook

# The tail that is verified before the box opens; `storebox verify` walks all of it.
TAIL_EVENTS = 1_000

# Keys of second contents under a known sale id begin so; no UUIDv7 does before the year 5400.
CONFLICT_KEY = b"conflict"


class Draft(NamedTuple):
    """An event to be: everything but its place. `sale_key` makes it idempotent under `sale`, its canonical bytes.

    `carried`: the key is known from an epoch that the cloud does not follow, and stands for this event from now on.
    `ticket`: to be judged beside the till's other tickets; what is found joins the flags in `data`.
    """

    kind: str
    data: bytes
    till: str | None = None
    sale_key: bytes | None = None
    sale: bytes = b""
    carried: bool = False
    ticket: Ticket | None = None


class Entry(NamedTuple):
    """An event on disk, with the envelope of the signed head that covers it. `known`: it was there before.

    `pruned`: its retention is over, and of the body only what an ack repeats is left.
    """

    position: Position
    body: bytes
    head: bytes
    known: bool
    pruned: bool = False


class Sealer(NamedTuple):
    """Who seals events: this box, with its key and its clocks.

    `known` holds the keys that it had before, too; `rotations`, how they followed one another.
    """

    box: str
    signer: Signer
    clock: Clock
    known: Keys = MappingProxyType({})
    rotations: tuple[Rotation, ...] = ()

    @property
    def keys(self) -> Keys:
        """All keys that vouch for this box's events."""
        return {**self.known, self.signer.key_id: self.signer.public_key}

    def opening(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """What the first event of an epoch says: all that proves the key of the epoch, too."""
        return {**data, "rotations": self.rotations} if self.rotations else {**data}


def commit_group(
    connection: sqlite3.Connection,
    sealer: Sealer,
    end: Position,
    drafts: Sequence[Draft],
    book: TicketBook,
    packer: Packer,
) -> tuple[list[Entry | SaleConflict], Position]:
    """Append drafts behind `end`, in their order, under one signed head; the outcome of each, and the new end.

    A draft whose key is known gives the entry that is there, or SaleConflict when the content differs.
    """
    at, reading = rfc3339(sealer.clock.wall()), sealer.clock.reading()
    book.begin(connection, end)
    asked = [draft.sale_key for draft in drafts if draft.sale_key is not None and not draft.carried]
    known_places = tables.places_of_sales(connection, asked)
    results: list[Entry | SaleConflict] = []
    fresh: list[Entry] = []
    fresh_sales: dict[bytes, Entry] = {}
    for draft in drafts:
        if draft.sale_key is not None and not draft.carried:
            known = fresh_sales.get(draft.sale_key)
            if known is None and (place := known_places.get(draft.sale_key)) is not None:
                known = _stored(connection, place)
            if known is not None:
                same = sale_digest(known.body) == chain.digest(draft.sale)
                results.append(known._replace(known=True) if same else _conflict(known.position))
                continue
        data = msgspec.Raw(_judged(connection, draft, book))
        sealed = chain.seal(
            end, box=sealer.box, kind=draft.kind, till=draft.till, at=at, clock=reading, data=data
        )
        end = Position(end.epoch, end.seq + 1, sealed.hash)
        entry = Entry(end, sealed.body, head=b"", known=False)
        results.append(entry)
        fresh.append(entry)
        if draft.sale_key is not None:
            fresh_sales[draft.sale_key] = entry
    book.end(connection, end, len(fresh))
    if not fresh:
        return results, end
    envelope = sign(sealer.signer, HEAD_TYPE, Head(sealer.box, end.epoch, end.seq, end.head.hex()))
    tables.insert_events(connection, [(_place(entry), entry.body) for entry in fresh], packer)
    tables.forget_sales(connection, [d.sale_key for d in drafts if d.carried and d.sale_key is not None])
    tables.insert_sales(connection, [(key, _place(entry)) for key, entry in fresh_sales.items()])
    tables.insert_head(connection, tables.place_of(end.epoch, end.seq), envelope, packer)
    return [r if isinstance(r, SaleConflict) or r.head else r._replace(head=envelope) for r in results], end


def sale_data(flags: Sequence[str], sale: bytes) -> bytes:
    """The data of a `sale` event; `sale` is canonical, so this is too (keys sorted, parts canonical)."""
    return b'{"flags":%b,"sale":%b}' % (canonical(flags), sale)


def _judged(connection: sqlite3.Connection, draft: Draft, book: TicketBook) -> bytes:
    """The draft's data, with the flags that only the journal's state can tell."""
    if draft.ticket is None:
        book.heed(connection, draft.kind, draft.data)
        return draft.data
    found = book.judge(connection, draft.ticket)
    if not found:
        return draft.data
    return sale_data(in_order(found, _flags.decode(draft.data).flags), draft.sale)


class _Flags(msgspec.Struct, frozen=True):
    flags: list[str]


_flags = msgspec.json.Decoder(_Flags)


def proven_end(reader: sqlite3.Connection, sealer: Sealer) -> Position | None:
    """The end of the stored chain, its tail walked and its last head verified; None for an empty journal.

    Raises BadEvent, Fork, Gap or BadSignature: what is on disk is not what this box wrote.
    """
    last = tables.last_place(reader)
    if last is None:
        return None
    epoch, seq = tables.epoch_and_seq(last)
    keys = sealer.keys
    end = begin_of(reader, epoch, box=sealer.box, keys=keys)
    if (before := seq - TAIL_EVENTS) > end.seq:
        anchor = tables.body_at(reader, tables.place_of(epoch, before))
        end = Position(epoch, before, chain.digest(anchor) if anchor else GENESIS)
    with closing(tables.events(reader, tables.place_of(epoch, end.seq))) as rows:
        for sealed in chain.walk(end, (row.body for row in rows), box=sealer.box):
            end = Position(epoch, sealed.link.seq, sealed.hash)
    head_place, envelope = tables.last_head(reader) or (0, b"")
    if head_place < last:
        raise BadEvent(f"the last event {epoch}/{seq} stands under no signed head")
    head = verify(envelope, HEAD_TYPE, Head, keys)
    if head_place > last or head.position != end:
        raise BadEvent(
            f"a signed head vouches for {head.epoch}/{head.seq}, but the journal ends at {epoch}/{seq}"
        )
    return end


def known_sale(connection: sqlite3.Connection, sale_key: bytes) -> Entry | None:
    """The entry of a key that is in the journal. Raises StorageFault when its row points nowhere."""
    place = tables.place_of_sale(connection, sale_key)
    return None if place is None else _stored(connection, place)


def _stored(connection: sqlite3.Connection, place: int) -> Entry:
    at, head = tables.epoch_and_seq(place), tables.head_covering(connection, place)
    if head is not None and (body := tables.body_at(connection, place)) is not None:
        return Entry(Position(*at, chain.digest(body)), body, head, known=True)
    if head is not None and (kept := kept_at(connection, place)) is not None:
        return Entry(Position(*at, kept.hash), kept.stub, head, known=True, pruned=True)
    raise StorageFault("a sale's row points at an event or a head that is not there")


def _place(entry: Entry) -> int:
    return tables.place_of(entry.position.epoch, entry.position.seq)


def _conflict(position: Position) -> SaleConflict:
    return SaleConflict(
        f"the sale id stands at {position.epoch}/{position.seq} with other content",
        epoch=position.epoch,
        seq=position.seq,
    )

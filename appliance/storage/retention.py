"""Retention: free old events that the cloud holds, and keep what must outlive them (docs/decisions/0011-retention.md).

Guarantees, each within one transaction: an event goes only when its epoch's receipt covers it and the time that was
written down for that is old enough; the events that go are walked first, so a damaged journal is never pruned; behind
them stands an anchor that this box signed; the ack of each sale among them can still be given, byte for byte.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import closing

from appliance.domain import event as chain
from appliance.domain.errors import BadEvent
from appliance.domain.event import Position
from appliance.domain.statements import ANCHOR_TYPE, Anchor, sign
from appliance.runtime.clock import rfc3339
from appliance.storage import journal_tables as tables
from appliance.storage.commit import Sealer
from appliance.storage.kept import SALE_KINDS, begin_of, stub_of
from appliance.storage.ticket_book import TicketBook

# Receipts written down with their time: one an hour says well enough how old an event is.
WRITTEN_DOWN_EVERY_S = 3_600


def write_down(connection: sqlite3.Connection, place: int, at_s: int) -> None:
    """Note that the cloud held everything up to a place at a time that both clocks agreed on."""
    connection.execute(
        "INSERT INTO receipted (place, at) SELECT ?1, ?2 WHERE NOT EXISTS"
        " (SELECT 1 FROM receipted WHERE place >= ?1 OR (at > ?2 - ?3 AND at <= ?2))",
        (place, at_s, WRITTEN_DOWN_EVERY_S),
    )


def prune(
    connection: sqlite3.Connection,
    sealer: Sealer,
    book: TicketBook,
    *,
    receipted_before_s: int,
    events_max: int,
) -> int:
    """Free up to `events_max` of the oldest events that the cloud held before a time; how many went.

    For the writer's thread, inside its transaction; `book` folds the chain, and must have seen what goes. The newest
    event of the journal always stays. Raises ChainFault or BadSignature when what would go is not the chain that this
    box wrote.
    """
    last = tables.last_place(connection)
    if last is None:
        return 0
    receipted = tables.receipts(connection)
    for epoch in tables.epoch_ends(connection):
        upto = min(
            _held_since(connection, epoch, receipted_before_s),
            tables.place_of(epoch, receipted.get(epoch, 0)),
            last - 1,
        )
        if gone := _prune_epoch(connection, sealer, book, epoch, upto, events_max):
            return gone
    return 0


def _held_since(connection: sqlite3.Connection, epoch: int, before_s: int) -> int:
    """The last place that the cloud held before a time; 0 for none. A later receipt with an earlier time counts too."""
    found: int | None = connection.execute(
        "SELECT max(place) FROM receipted WHERE at <= ? AND place > ? AND place < ?",
        (before_s, tables.place_of(epoch, 0), tables.place_of(epoch + 1, 0)),
    ).fetchone()[0]
    return found or 0


def _prune_epoch(
    connection: sqlite3.Connection, sealer: Sealer, book: TicketBook, epoch: int, upto: int, events_max: int
) -> int:
    keys = sealer.keys
    end = begin_of(connection, epoch, box=sealer.box, keys=keys)
    begin = tables.place_of(epoch, end.seq)
    kept: list[tuple[int, bytes, bytes]] = []
    with closing(tables.events(connection, begin)) as rows:
        for sealed in chain.walk(end, _until(rows, min(upto, begin + events_max)), box=sealer.box):
            end = Position(epoch, sealed.link.seq, sealed.hash)
            place = tables.place_of(epoch, end.seq)
            if sealed.link.kind in SALE_KINDS and (stub := _stub(connection, place, sealed.body)) is not None:
                kept.append((place, sealed.hash, stub))
    place = tables.place_of(epoch, end.seq)
    if place > begin:
        book.write_down(connection, _chain_end(connection))
        connection.executemany("INSERT INTO kept (place, hash, stub) VALUES (?, ?, ?)", kept)
        _put_anchor(connection, sealer, end)
        _delete(connection, begin, place)
    return place - begin


def _stub(connection: sqlite3.Connection, place: int, body: bytes) -> bytes | None:
    """What is kept of a sale's event; None when it holds no sale and none is known there. Raises BadEvent."""
    try:
        return stub_of(body)
    except BadEvent:
        # Nobody can ask for it again, and a card must not fill up behind it.
        if tables.has_sale_at(connection, place):
            raise
        return None


def _chain_end(connection: sqlite3.Connection) -> Position:
    last = tables.last_place(connection) or 0
    return Position(*tables.epoch_and_seq(last), chain.digest(tables.body_at(connection, last) or b""))


def _until(rows: Iterable[tables.Row], upto: int) -> Iterable[bytes]:
    for row in rows:
        if tables.place_of(row.epoch, row.seq) > upto:
            return
        yield row.body


def _put_anchor(connection: sqlite3.Connection, sealer: Sealer, end: Position) -> None:
    at = rfc3339(sealer.clock.wall())
    anchor = Anchor(sealer.box, end.epoch, end.seq, end.head.hex(), at)
    connection.execute(
        "INSERT INTO anchor (epoch, seq, envelope, receipt)"
        " SELECT ?1, ?2, ?3, envelope FROM receipt WHERE epoch = ?1"
        " ON CONFLICT (epoch) DO UPDATE SET seq = excluded.seq, envelope = excluded.envelope,"
        " receipt = excluded.receipt",
        (end.epoch, end.seq, sign(sealer.signer, ANCHOR_TYPE, anchor)),
    )


def _delete(connection: sqlite3.Connection, after: int, upto: int) -> None:
    for table in ("event", "receipted"):
        connection.execute(f"DELETE FROM {table} WHERE place > ? AND place <= ?", (after, upto))  # noqa: S608  names of ours
    # A head stays for the acks of its group. When one without any goes, its group falls to the next head: no ack in it.
    connection.execute(
        "DELETE FROM head WHERE place > ? AND place <= ? AND NOT EXISTS (SELECT 1 FROM kept WHERE"
        " kept.place <= head.place"
        " AND kept.place > coalesce((SELECT max(h.place) FROM head h WHERE h.place < head.place), 0))",
        (after, upto),
    )

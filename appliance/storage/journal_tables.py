"""The journal's SQL: functions over a connection. Which connection may call what is `journal.py`'s business.

Events and signed heads are packed at rest (packing.py); in and out of here they are the bytes that prove. They
are cast, since a rotten page may call them text that no decoder takes.
What yields rows holds a statement open: close it (contextlib.closing) before its connection.
"""

import sqlite3
from collections.abc import Generator, Sequence
from functools import cache
from importlib.resources import files
from itertools import chain
from typing import Any, NamedTuple, TypeVar

from appliance.storage.packing import Packer, unpack

SCHEMA = files("appliance.storage") / "schema" / "journal"

# 2^40 events per epoch (a million years of a busy shop), 2^23 epochs: within SQLite's 64-bit integers.
EPOCH_SHIFT = 40


Item = TypeVar("Item")
Filling = TypeVar("Filling")


class Row(NamedTuple):
    """One stored event."""

    epoch: int
    seq: int
    body: bytes


def place_of(epoch: int, seq: int) -> int:
    """The key of a place in the chain."""
    return (epoch << EPOCH_SHIFT) | seq


def epoch_and_seq(place: int) -> tuple[int, int]:
    """The place behind a key."""
    return place >> EPOCH_SHIFT, place & ((1 << EPOCH_SHIFT) - 1)


def insert_events(connection: sqlite3.Connection, rows: Sequence[tuple[int, bytes]], packer: Packer) -> None:
    """Add (place, body) rows; a place that is taken raises IntegrityError."""
    packed = packer.pack([body for _, body in rows])
    _insert(
        connection,
        "INSERT INTO event (place, body) SELECT column1, column2 FROM (VALUES ",
        [(row[0], body) for row, body in zip(rows, packed, strict=True)],
    )


def insert_sales(connection: sqlite3.Connection, rows: Sequence[tuple[bytes, int]]) -> None:
    """Add (sale id, place) rows; an id that is known raises IntegrityError."""
    _insert(connection, "INSERT INTO sale (sale_id, place) SELECT column1, column2 FROM (VALUES ", rows)


def forget_sales(connection: sqlite3.Connection, keys: Sequence[bytes]) -> None:
    """Take ids out, in the transaction that adds them again at another place."""
    connection.executemany("DELETE FROM sale WHERE sale_id = ?", [(key,) for key in keys])


def insert_head(connection: sqlite3.Connection, place: int, envelope: bytes, packer: Packer) -> None:
    """Add the signed head of the group that ends at `place`."""
    (stored,) = packer.pack([envelope])
    connection.execute("INSERT INTO head (place, envelope) VALUES (?, ?)", (place, stored))


def put_receipt(connection: sqlite3.Connection, epoch: int, seq: int, envelope: bytes) -> None:
    """Keep a receipt as the epoch's last; one for an earlier seq changes nothing."""
    connection.execute(
        "INSERT INTO receipt (epoch, seq, envelope) VALUES (?, ?, ?) ON CONFLICT (epoch) DO UPDATE"
        " SET seq = excluded.seq, envelope = excluded.envelope WHERE excluded.seq > receipt.seq",
        (epoch, seq, envelope),
    )


def last_place(connection: sqlite3.Connection) -> int | None:
    """The place of the newest event, or None in an empty journal."""
    place: int | None = connection.execute("SELECT max(place) FROM event").fetchone()[0]
    return place


def body_at(connection: sqlite3.Connection, place: int) -> bytes | None:
    """The bytes of one event."""
    row = connection.execute("SELECT CAST(body AS BLOB) FROM event WHERE place = ?", (place,)).fetchone()
    return unpack(row[0]) if row else None


def places_of_sales(connection: sqlite3.Connection, sale_ids: Sequence[bytes]) -> dict[bytes, int]:
    """Where those of these sales stand that are known."""
    if not sale_ids:
        return {}
    asked = _many("SELECT sale_id, place FROM sale WHERE sale_id IN (", "?", _size(sale_ids), ")")
    return dict(connection.execute(asked, _filled(sale_ids, None)).fetchall())


def place_of_sale(connection: sqlite3.Connection, sale_id: bytes) -> int | None:
    """Where a sale stands."""
    row = connection.execute("SELECT place FROM sale WHERE sale_id = ?", (sale_id,)).fetchone()
    return row[0] if row else None


def has_sale_at(connection: sqlite3.Connection, place: int) -> bool:
    """Whether a sale is known to stand at a place. Reads all rows: for what is seldom asked."""
    return connection.execute("SELECT 1 FROM sale WHERE place = ?", (place,)).fetchone() is not None


def head_covering(connection: sqlite3.Connection, place: int) -> bytes | None:
    """The envelope of the first signed head at or after a place, within its epoch."""
    row = connection.execute(
        "SELECT CAST(envelope AS BLOB) FROM head WHERE place >= ? AND place < ? ORDER BY place LIMIT 1",
        (place, ((place >> EPOCH_SHIFT) + 1) << EPOCH_SHIFT),
    ).fetchone()
    return unpack(row[0]) if row else None


def last_head(connection: sqlite3.Connection) -> tuple[int, bytes] | None:
    """The (place, envelope) of the newest signed head."""
    row = connection.execute(
        "SELECT place, CAST(envelope AS BLOB) FROM head ORDER BY place DESC LIMIT 1"
    ).fetchone()
    return (row[0], unpack(row[1])) if row else None


def heads(connection: sqlite3.Connection, after: int) -> Generator[tuple[int, bytes], None, None]:
    """Every (place, envelope) after a place, in order."""
    for place, envelope in connection.execute(
        "SELECT place, CAST(envelope AS BLOB) FROM head WHERE place > ? ORDER BY place", (after,)
    ):
        yield place, unpack(envelope)


def events(connection: sqlite3.Connection, after: int) -> Generator[Row, None, None]:
    """Every event after a place, in order of the chain."""
    for place, body in connection.execute(
        "SELECT place, CAST(body AS BLOB) FROM event WHERE place > ? ORDER BY place", (after,)
    ):
        yield Row(*epoch_and_seq(place), unpack(body))


def sales(connection: sqlite3.Connection) -> Generator[tuple[bytes, int], None, None]:
    """Every (sale id, place), by sale id."""
    yield from connection.execute("SELECT sale_id, place FROM sale ORDER BY sale_id")


def receipts(connection: sqlite3.Connection) -> dict[int, int]:
    """The last receipted seq of each epoch that has one."""
    return dict(connection.execute("SELECT epoch, seq FROM receipt").fetchall())


def receipt_envelopes(connection: sqlite3.Connection) -> dict[int, bytes]:
    """The envelope of each epoch's last receipt."""
    return dict(connection.execute("SELECT epoch, envelope FROM receipt ORDER BY epoch").fetchall())


def epoch_ends(connection: sqlite3.Connection) -> dict[int, int]:
    """The last seq of each epoch that holds events."""
    ends: dict[int, int] = {}
    place = last_place(connection)
    while place is not None:
        epoch, seq = epoch_and_seq(place)
        ends[epoch] = seq
        row = connection.execute(
            "SELECT max(place) FROM event WHERE place < ?", (epoch << EPOCH_SHIFT,)
        ).fetchone()
        place = row[0]
    return dict(sorted(ends.items()))


# Every call into SQLite gives the interpreter's lock away, and under load gets it back only after the event loop has
# had its turn: a group of sales costs one statement with many rows, not many with one. Their sizes are powers of two,
# filled up with rows of NULL that are left out, so that few texts stay prepared.


def _insert(connection: sqlite3.Connection, begin: str, rows: Sequence[tuple[Any, Any]]) -> None:
    """Add rows of two columns, of which the first is never NULL; `begin` ends where the rows begin."""
    if rows:
        statement = _many(begin, "(?, ?)", _size(rows), ") WHERE column1 IS NOT NULL")
        connection.execute(statement, list(chain.from_iterable(_filled(rows, (None, None)))))


def _size(rows: Sequence[Any]) -> int:
    return int(1 << (len(rows) - 1).bit_length())


def _filled(rows: Sequence[Item], nothing: Filling) -> list[Item | Filling]:
    return [*rows, *[nothing] * (_size(rows) - len(rows))]


@cache
def _many(begin: str, value: str, count: int, end: str) -> str:
    return begin + ", ".join([value] * count) + end

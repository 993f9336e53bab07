"""Bring rows that were found in no order into chains. What is old, doubled or false falls out by the chain itself.

A signed head names the last event of its group by its hash, that event the one before it by its own, and so back to
the first hole. Two different events at one place are two continuations of one box (its card was put back once): each
is a branch of its own, and head office says which one it follows. Blocks.
"""

import base64
import binascii
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from appliance.domain import event as chain
from appliance.domain.dsse import Envelope
from appliance.domain.errors import BadEvent
from appliance.domain.statements import Head
from appliance.storage import journal_tables as tables
from appliance.storage.carve import Carver, Progress
from appliance.storage.packing import unpack
from appliance.storage.pages import Rows
from appliance.storage.partitions import size_of
from appliance.storage.salvage import Card

SCRATCH = """
CREATE TABLE event (
    box TEXT, place INTEGER, hash BLOB, prev BLOB, body BLOB NOT NULL, branch INTEGER,
    PRIMARY KEY (box, place, hash)
) STRICT, WITHOUT ROWID;
CREATE TABLE head (
    box TEXT, place INTEGER, hash BLOB, envelope BLOB NOT NULL, PRIMARY KEY (box, place, hash)
) STRICT, WITHOUT ROWID;
"""
# How often rows are committed: the scratch need not last, but a transaction should not grow without end.
_COMMIT_ROWS = 10_000


class Branch:
    """One chain of one box, with its holes. A source of events as a journal's file is one."""

    def __init__(self, connection: sqlite3.Connection, box: str, number: int) -> None:
        self._connection = connection
        self._of = (box, number)

    def heads(self) -> Generator[tuple[int, bytes], None, None]:
        """Every signed head as (place, envelope), in order."""
        for place, envelope in self._connection.execute(
            "SELECT head.place, envelope FROM head JOIN event USING (box, place, hash)"
            " WHERE head.box = ? AND branch = ? ORDER BY head.place",
            self._of,
        ):
            yield place, unpack(envelope)

    def events(self) -> Generator[tables.Row, None, None]:
        """Every event, in order of the chain."""
        for place, body in self._connection.execute(
            "SELECT place, body FROM event WHERE box = ? AND branch = ? ORDER BY place", self._of
        ):
            yield tables.Row(*tables.epoch_and_seq(place), unpack(body))


@contextmanager
def carve_cards(path: Path, work: Path, progress: Progress) -> Iterator[list[Card]]:
    """Search a whole card, a device or an image; what it holds, a card for each branch, while inside.

    `work` is where the scratch stands: it grows to what the journals held. Raises OSError.
    """
    with (
        TemporaryDirectory(dir=work, prefix="rescue-") as folder,
        path.open("rb", buffering=0) as device,
        # Read on whatever thread has time, one after another.
        closing(sqlite3.connect(Path(folder) / "scratch.db", check_same_thread=False)) as scratch,
    ):
        scratch.execute("PRAGMA synchronous=OFF")
        scratch.executescript(SCRATCH)
        _gather(scratch, Carver(device, size_of(path), _is_ours, progress))
        _branch(scratch)
        yield list(_cards(scratch))


def _is_ours(row: Rows) -> bool:
    event = _event(row)
    return event is not None or _head(row) is not None


def _event(row: Rows) -> chain.Sealed | None:
    try:
        sealed = chain.read(unpack(row.blob))
    except BadEvent:
        return None
    return sealed if tables.place_of(sealed.link.epoch, sealed.link.seq) == row.key else None


def _head(row: Rows) -> Head | None:
    """The head in an envelope, believed by nobody yet."""
    try:
        payload = base64.b64decode(
            msgspec.json.decode(unpack(row.blob), type=Envelope).payload, validate=True
        )
        head = msgspec.json.decode(payload, type=Head)
        return head if tables.place_of(head.epoch, head.seq) == row.key and head.position.head else None
    except (msgspec.DecodeError, binascii.Error, ValueError, RecursionError):
        return None


def _gather(scratch: sqlite3.Connection, carver: Carver) -> None:
    for number, row in enumerate(carver.rows(), 1):
        if (sealed := _event(row)) is not None:
            scratch.execute(
                "INSERT OR IGNORE INTO event (box, place, hash, prev, body) VALUES (?, ?, ?, ?, ?)",
                (sealed.link.box, row.key, sealed.hash, bytes.fromhex(sealed.link.prev), row.blob),
            )
        elif (head := _head(row)) is not None:
            scratch.execute(
                "INSERT OR IGNORE INTO head (box, place, hash, envelope) VALUES (?, ?, ?, ?)",
                (head.box, row.key, head.position.head, row.blob),
            )
        if number % _COMMIT_ROWS == 0:
            scratch.commit()
    scratch.commit()


def _branch(scratch: sqlite3.Connection) -> None:
    """Give each event that a head reaches its branch: the newest head decides, and 0 is the branch of most places."""
    heads = scratch.execute("SELECT box, place, hash FROM head ORDER BY box, place DESC").fetchall()
    for box, place, hash_ in heads:
        run = list(_back(scratch, box, place, hash_))
        if not run:
            continue
        number = 0
        while _taken(scratch, box, number, run[-1][1], place):
            number += 1
        scratch.executemany(
            "UPDATE event SET branch = ? WHERE box = ? AND place = ? AND hash = ?",
            [(number, *key) for key in run],
        )
    scratch.commit()


def _back(
    scratch: sqlite3.Connection, box: str, place: int, hash_: bytes
) -> Iterator[tuple[str, int, bytes]]:
    """The events from here back to a hole, or to one that has its branch already."""
    while True:
        row = scratch.execute(
            "SELECT prev, branch FROM event WHERE box = ? AND place = ? AND hash = ?", (box, place, hash_)
        ).fetchone()
        if row is None or row[1] is not None:
            return
        yield box, place, hash_
        place, hash_ = place - 1, row[0]


def _taken(scratch: sqlite3.Connection, box: str, number: int, first: int, last: int) -> bool:
    query = "SELECT 1 FROM event WHERE box = ? AND place BETWEEN ? AND ? AND branch = ? LIMIT 1"
    return scratch.execute(query, (box, first, last, number)).fetchone() is not None


def _cards(scratch: sqlite3.Connection) -> Iterator[Card]:
    query = "SELECT box, branch FROM event WHERE branch IS NOT NULL GROUP BY box, branch ORDER BY box, branch"
    for box, number in scratch.execute(query).fetchall():
        yield Card(Branch(scratch, box, number), True, _furthest(scratch, box) if number == 0 else {})


def _furthest(scratch: sqlite3.Connection, box: str) -> dict[int, int]:
    """The last place of each epoch that anything on the card names."""
    query = f"SELECT place >> {tables.EPOCH_SHIFT}, max(place) FROM event WHERE box = ?1 GROUP BY 1"  # noqa: S608  a constant
    found = scratch.execute(f"{query} UNION ALL {query.replace('event', 'head')}", (box,)).fetchall()
    furthest: dict[int, int] = {}
    for epoch, place in found:
        furthest[epoch] = max(furthest.get(epoch, 0), tables.epoch_and_seq(place)[1])
    return furthest

"""Judge crash points by the thousand: every disk image by what SQLite recovers, every content once by all rules.

Thousands of images recover to a few hundred contents. So an image is opened, checkpointed as at the daemon's start,
checked page by page and read row by row; and the oracle judges the first image of each content in full. A content
answers for ever how far it keeps the promises of its day.
"""

import hashlib
import marshal
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from appliance.domain import event as chain
from appliance.storage import journal_tables as tables
from campaigns.powercut.crashpoints import Point
from campaigns.powercut.cuts import FILE
from campaigns.powercut.disk import AnyOp, Image, Told
from campaigns.powercut.oracle import Ledger, judge
from campaigns.powercut.sales import draft_of


class Judged(NamedTuple):
    """How many of the day's promises a content keeps, in their order, and what else is wrong with it."""

    kept: int
    broken: list[str]


class PointJudge:
    """Holds the crash points of one recording against what had been promised by then. Works in an empty folder."""

    def __init__(self, ops: Sequence[AnyOp], folder: Path) -> None:
        self._told = [(index, op.words) for index, op in enumerate(ops) if isinstance(op, Told)]
        self._promises = [
            (index, words) for index, words in self._told if words.startswith(("ack ", "receipt "))
        ]
        self._folder = folder
        self._images: dict[int, Judged] = {}
        self._contents: dict[bytes, Judged] = {}
        self._missed: set[int] = set()

    @property
    def images(self) -> int:
        """How many different disk images were opened."""
        return len(self._images)

    @property
    def contents(self) -> int:
        """How many different journals they held."""
        return len(self._contents)

    @property
    def acked(self) -> int:
        """How many sales were acked on the recorded day."""
        return sum(words.startswith("ack ") for _, words in self._promises)

    @property
    def lost(self) -> int:
        """How many of them did not surely outlive each of the cuts."""
        return len(self._missed)

    def judge(self, point: Point) -> list[str]:
        """What is broken when the power goes at this point. Give the points in their order."""
        promised = sum(index < point.at for index, _ in self._promises)
        print_ = _print_of(point.image)
        if print_ not in self._images:
            self._images[print_] = self._look(point)
        judged = self._images[print_]
        broken = list(judged.broken)
        if judged.kept < promised:
            _, words = self._promises[judged.kept]
            self._missed |= {
                n for n in range(judged.kept, promised) if self._promises[n][1].startswith("ack ")
            }
            broken.append(f"promised, but not kept: {words} (and up to {promised - judged.kept - 1} more)")
        return broken

    def _look(self, point: Point) -> Judged:
        path = _lay_out(self._folder, point.image)
        try:
            content = _recover(path)
            if content not in self._contents:
                self._contents[content] = self._judge_in_full(point, _journalled(path))
        except (sqlite3.Error, ValueError) as error:
            return Judged(0, [f"the journal cannot be read: {error}"])
        return self._contents[content]

    def _judge_in_full(self, point: Point, journal: "Journalled") -> Judged:
        kept = 0
        while kept < len(self._promises) and journal.keeps(self._promises[kept][1]):
            kept += 1
        ledger = Ledger()
        for index, words in self._told:
            if words.startswith("try ") and index < point.at:
                ledger.note(words)
        for _, words in self._promises[:kept]:
            ledger.note(words)
        path = _lay_out(self._folder, point.image)
        return Judged(kept, judge(path, ledger).broken)


class Journalled(NamedTuple):
    """What a recovered journal holds."""

    sales: dict[bytes, tuple[int, str]]
    receipts: dict[int, int]

    def keeps(self, words: str) -> bool:
        """Whether a promise, as it was told, is kept."""
        match words.split():
            case ["ack", number, epoch, seq, digest]:
                place = tables.place_of(int(epoch), int(seq))
                return self.sales.get(draft_of(int(number)).sale_key or b"") == (place, digest)
            case ["receipt", epoch, seq]:
                return self.receipts.get(int(epoch), 0) >= int(seq)
            case _:
                raise ValueError(f"no promise: {words}")


def _print_of(image: Image) -> int:
    # Python keeps the hash of a bytes object: a file that did not change since the last point costs nothing.
    return hash(tuple((name, hash(image[name])) for name in sorted(image)))


def _lay_out(folder: Path, image: Image) -> Path:
    for old in folder.iterdir():
        old.unlink()
    for name, data in image.items():
        (folder / name).write_bytes(data)
    return folder / FILE


def _recover(path: Path) -> bytes:
    """Open as the daemon does at its start; a print of all rows. Raises sqlite3.Error or ValueError: it is damaged."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        busy, in_wal, copied = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy or in_wal != copied:
            raise ValueError("the WAL could not be checkpointed")
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise ValueError(verdict)
        digest = hashlib.blake2b(digest_size=16)
        for table in _tables(connection):
            rows = connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608  a name out of the schema
            digest.update(table.encode() + marshal.dumps(rows, 2))  # version 2: equal rows, equal bytes
        return digest.digest()


def _journalled(path: Path) -> Journalled:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        if not {"sale", "receipt"} <= set(_tables(connection)):
            return Journalled({}, {})
        found = {}
        for key, place in list(tables.sales(connection)):
            body = tables.body_at(connection, place)
            found[key] = (place, chain.digest(body).hex() if body is not None else "")
        return Journalled(found, tables.receipts(connection))


def _tables(connection: sqlite3.Connection) -> list[str]:
    return [
        row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1")
    ]

"""What can still be read of a dead box's journal: events and heads in order, from a copy that may be damaged. Blocks.

The card itself is only read, once, from its first block to its last. A sound copy is read as a journal; a damaged one
page by page (storage/pages.py), and what was found goes into a scratch database, which brings it into order.
"""

import sqlite3
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, Protocol

from appliance.domain import event as chain
from appliance.domain.errors import BadEvent
from appliance.storage import journal_tables as tables
from appliance.storage.archive import MANIFEST, ArchiveReader, place_in
from appliance.storage.packing import unpack
from appliance.storage.pages import Pages, copy_readable

SCRATCH = """
CREATE TABLE event (place INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE head (place INTEGER PRIMARY KEY, envelope BLOB NOT NULL);
"""
JOURNAL, HEAD_FILE = "journal.db", "head"


class Readable(Protocol):
    """Events and heads in order. Nothing of it is proven."""

    def heads(self) -> Generator[tuple[int, bytes], None, None]:
        """Every signed head as (place, envelope), in order."""
        ...

    def events(self) -> Generator[tables.Row, None, None]:
        """Every event, in order of the chain."""
        ...


class Card(NamedTuple):
    """What a card holds. Nothing of it is proven. `places`: the furthest that anything on it names, by epoch."""

    source: Readable
    damaged: bool
    places: dict[int, int]


class Copy:
    """A database of events and heads, sound or from scratch."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def heads(self) -> Generator[tuple[int, bytes], None, None]:
        """Every signed head as (place, envelope), in order."""
        return tables.heads(self._connection, 0)

    def events(self) -> Generator[tables.Row, None, None]:
        """Every event, in order of the chain."""
        return tables.events(self._connection, 0)


def cards_in(path: Path) -> list[Path]:
    """What to rescue at a path: a box's state folder may also hold journals that were set aside. Blocks."""
    if not path.is_dir() or (path / MANIFEST).exists():
        return [path]
    aside = sorted(
        file for file in path.glob(f"{JOURNAL}.aside-*") if file.suffix[len(".aside-") :].isdigit()
    )
    return [*([path] if (path / JOURNAL).exists() else []), *aside]


@contextmanager
def read_card(path: Path, work: Path) -> Iterator[Card]:
    """Read a journal's file, a box's state folder, or an export's folder; copies stand in `work` while inside.

    Raises OSError when there is no such file.
    """
    if (path / MANIFEST).exists():
        archive = ArchiveReader(path)
        manifest = archive.manifest()
        yield Card(archive, False, {manifest.epoch: manifest.seq})
        return
    journal = path / JOURNAL if path.is_dir() else path
    with TemporaryDirectory(dir=work, prefix="rescue-") as folder:
        copy = Path(folder) / JOURNAL
        unreadable = copy_readable(journal, copy)
        if (wal := journal.with_name(journal.name + "-wal")).exists():
            unreadable += copy_readable(wal, copy.with_name(copy.name + "-wal"))
        sound = unreadable == 0 and _is_sound(copy)
        with closing(_opened(copy if sound else _scratch(copy))) as connection:
            yield Card(Copy(connection), not sound, _places(copy, connection, path))


def _opened(path: Path) -> sqlite3.Connection:
    # Read on whatever thread has time, one after another.
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


def _is_sound(copy: Path) -> bool:
    try:
        with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
            connection.execute("SELECT 1 FROM event, head LIMIT 0")
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
    except sqlite3.Error:
        return False


def _scratch(copy: Path) -> Path:
    path = copy.with_name("scratch.db")
    with closing(sqlite3.connect(path)) as connection, Pages(copy) as pages:
        connection.executescript(SCRATCH)
        for key, blob in pages.rows():
            if _place_of_event(unpack(blob)) == key:
                connection.execute("INSERT OR IGNORE INTO event (place, body) VALUES (?, ?)", (key, blob))
            elif _place_of_head(blob) == key:
                connection.execute("INSERT OR IGNORE INTO head (place, envelope) VALUES (?, ?)", (key, blob))
        connection.commit()
    return path


def last_epoch_in(damaged: Path, gets_on: Callable[[], None]) -> int:
    """The last epoch that any event or signed head in a damaged journal is of; 0 when none can be read.

    Blocks, for minutes on a slow card; `gets_on` is called all the while.
    """
    last = 0
    with Pages(damaged) as pages:
        for key, blob in pages.rows(gets_on):
            epoch = tables.epoch_and_seq(key)[0]
            if epoch > last and key in (_place_of_event(unpack(blob)), _place_of_head(blob)):
                last = epoch
    return last


def _place_of_head(stored: bytes) -> int | None:
    place = place_in(unpack(stored))
    return None if place is None else tables.place_of(*place)


def _place_of_event(body: bytes) -> int | None:
    try:
        link = chain.read(body).link
    except BadEvent:
        return None
    return tables.place_of(link.epoch, link.seq)


def _places(copy: Path, found: sqlite3.Connection, path: Path) -> dict[int, int]:
    """How far the journal reached, by all that can still be asked: rows that are gone are missing all the same."""
    furthest: dict[int, int] = {}

    def see(epoch: int, seq: int) -> None:
        furthest[epoch] = max(seq, furthest.get(epoch, 0))

    for epoch, seq in tables.epoch_ends(found).items():
        see(epoch, seq)
    for (place,) in found.execute("SELECT place FROM head"):
        see(*tables.epoch_and_seq(place))
    for query in (
        "SELECT max(place) FROM event",
        "SELECT max(place) FROM head",
        "SELECT max(place) FROM sale",
    ):
        try:
            with closing(sqlite3.connect(copy)) as connection:
                place = connection.execute(query).fetchone()[0]
        except sqlite3.Error:
            continue
        if isinstance(place, int):
            see(*tables.epoch_and_seq(place))
    head_file = path / HEAD_FILE
    if path.is_dir() and head_file.exists() and (known := place_in(head_file.read_bytes())) is not None:
        see(*known)
    return furthest

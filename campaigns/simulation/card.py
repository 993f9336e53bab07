"""The box's card and the power that feeds it: what a cut leaves is what was committed.

Modelled: the product's own SQLite files on a real file system. Jobs of the writer run one after another, each at a
moment of its own; a cut falls between two of them, right before one (nothing of it is left) or right after one (it is
committed, and nobody was told). With `synchronous=FULL` each COMMIT ends in an fsync, so at those moments the files
hold nothing that is not on the card. Torn and lost writes *within* a job are the business of the power-cut campaign.

A cut takes a copy of the files at that very moment. The machine that lost its power goes on off-stage, cut off from
line and tills, on the files that nobody will read again: so nothing in it needs to know how to die.
"""

import asyncio
import contextlib
import random
import sqlite3
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from appliance.runtime.ballast import Ballast

# An SD card's commit: most take a few milliseconds, some wait for the card's own housekeeping.
SYNC_S = (0.002, 0.02)
SLOW_SYNC_S = 0.4
SLOW_SYNC_ODDS = 0.01
# SQLite's largest page count (sqlite.org/limits.html): no limit of ours.
PAGES_MAX = 0xFFFFFFFE
PAGE_BYTES = 4_096
AMPLE_BYTES = 1 << 30


class Card:
    """One run of the machine on one folder. Implements `loop.Jobs`."""

    def __init__(self, folder: Path, rng: random.Random, cut: Callable[[str], None]) -> None:
        self.folder = folder
        self.powered = True
        self.armed: str | None = None
        self._rng = rng
        self._cut = cut
        self._free_s: dict[Executor, float] = {}
        self._connections: list[sqlite3.Connection] = []
        self._full, self._spare_pages = False, 0

    def latency_s(self, executor: Executor | None) -> float:
        """Jobs of one thread wait for one another; the pool of small helpers is never short of threads."""
        if executor is None:
            return 0.0
        now_s = asyncio.get_running_loop().time()
        took_s = SLOW_SYNC_S if self._rng.random() < SLOW_SYNC_ODDS else self._rng.uniform(*SYNC_S)
        self._free_s[executor] = max(now_s, self._free_s.get(executor, 0.0)) + took_s
        return self._free_s[executor] - now_s

    def run(self, job: Callable[[], Any]) -> Any:
        """Do a job, and lose the power before or after it when that is `armed`."""
        if self.powered and self.armed == "before":
            self._cut("before-commit")
        result = job()
        if isinstance(result, sqlite3.Connection):
            result = self.connected(result)
        if self.powered and self.armed == "after":
            self._cut("after-commit")
        return result

    @property
    def full(self) -> bool:
        """Whether there is no room left."""
        return self._full

    def connected(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        """A connection for writing was opened; the one to use."""
        self._connections.append(connection)
        if self._full:
            _limit(connection, self._spare_pages)
        return connection

    def fill(self, spare_pages: int = 0) -> None:
        """No room for more than these pages: real SQLITE_FULL out of real code."""
        self._full, self._spare_pages = True, spare_pages
        for connection in self._connections:
            _limit(connection, spare_pages)

    def make_room(self) -> None:
        """All the room there is."""
        self._full = False
        for connection in self._connections:
            with contextlib.suppress(sqlite3.ProgrammingError):
                connection.execute(f"PRAGMA max_page_count={PAGES_MAX}")

    def copy_to(self, folder: Path) -> None:
        """What a cut leaves, in a new folder. Shared memory (-shm) is no file of the card."""
        folder.mkdir()
        for file in self.folder.iterdir():
            if not file.name.endswith("-shm"):
                (folder / file.name).write_bytes(file.read_bytes())


class CardBallast(Ballast):
    """The product's ballast on such a card: what it gives back can be written, and no more."""

    def __init__(self, path: Path, size: int, card: Card) -> None:
        super().__init__(path, size)
        self._card = card

    def free_bytes(self) -> int:
        """Nothing, or plenty."""
        return 0 if self._card.full else AMPLE_BYTES

    def hold(self) -> bool:
        """There is room for it, or there is none."""
        return self.held() if self._card.full else super().hold()

    def let_go(self) -> None:
        """Its blocks are free again."""
        held = self.held()
        super().let_go()
        if held and self._card.full:
            self._card.fill(self.size // PAGE_BYTES)


def _limit(connection: sqlite3.Connection, spare_pages: int) -> None:
    with contextlib.suppress(sqlite3.ProgrammingError):  # closed: this run is about to end
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages + spare_pages}")

"""One SQLite file, one writer. Every write and every checkpoint goes through one thread with one connection.

Why a thread of our own and whole functions instead of single statements: a unit of work runs as one hop, so that
a cancelled task can never leave the connection inside an open transaction, and a group of sales costs one wake-up
(docs/decisions/0003-writer-thread.md). Why one connection: SQLite 3.7.0 to 3.51.2 can corrupt a WAL when two
connections write and checkpoint at the same instant (sqlite.org/wal.html#walresetbug).

After an I/O error the writer refuses all further work: pages that failed to reach the disk may still be in the
page cache, so a retry that succeeds proves nothing (Rebello et al., USENIX ATC 2020).
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, TypeVar

from appliance.domain.errors import Busy, DiskFull, StorageFault
from appliance.runtime.files import sync_directory
from appliance.runtime.one_thread import OneThread

Result = TypeVar("Result")
Checkpoint = Literal["PASSIVE", "TRUNCATE"]

# How long a reader's snapshot may hold up a TRUNCATE checkpoint, or a technician's shell a write.
BUSY_TIMEOUT_MS = 5_000


class Writer:
    """The only way to write to one database file. Use `open_writer`."""

    def __init__(self, connection: sqlite3.Connection, executor: Executor) -> None:
        self._connection = connection
        self._executor = executor
        self._fault: str | None = None
        self._damaged = False

    @property
    def fault(self) -> str | None:
        """Why this writer refuses all work, or None."""
        return self._fault

    @property
    def damaged(self) -> bool:
        """Whether the fault is in the file's content: a new process may set it aside and go on."""
        return self._damaged

    async def transaction(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run `work` on the writer's thread inside one transaction; committed and fsynced when this returns.

        An exception out of `work` rolls back and is raised here. Raises DiskFull (rolled back, more room may help),
        Busy (rolled back, another process holds the file) or StorageFault (this writer is done). A caller that is
        cancelled cannot know whether the work was done: whole or not at all.
        """
        return await self._run(lambda: self._transact(work))

    async def checkpoint(self, mode: Checkpoint) -> bool:
        """Copy the WAL into the database file; True when all of it was copied (and, with TRUNCATE, cut to nothing).

        A reader with an older snapshot makes it False. Raises DiskFull or StorageFault.
        """
        return await self._run(lambda: self._checkpoint(mode))

    async def visit(self, job: Callable[[], Result]) -> Result:
        """Run `job` on the writer's thread between two units of work, also after a fault; it must be short.

        That this returns shows that no work is stuck in front of it.
        """
        return await self._run(job)

    async def _run(self, job: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._executor, job)

    def _transact(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        if self._fault is not None:
            raise StorageFault(self._fault)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            result = work(self._connection)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo()
            raise self._translate(error) from error
        except StopIteration as error:
            self._undo()
            # No future can carry this one: on Python 3.11 the caller would wait for ever.
            raise RuntimeError("the work ran out of an iterator") from error
        except BaseException:
            self._undo()
            raise
        return result

    def _checkpoint(self, mode: Checkpoint) -> bool:
        if self._fault is not None:
            raise StorageFault(self._fault)
        try:
            busy, in_wal, copied = self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        except sqlite3.Error as error:
            raise self._translate(error) from error
        return bool(busy == 0 and in_wal == copied)

    def _undo(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            self._fault = f"rollback failed: {error}"

    def _translate(self, error: sqlite3.Error) -> Exception:
        # Primary result codes are the low byte (sqlite.org/rescode.html).
        primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if primary == sqlite3.SQLITE_FULL:
            return DiskFull(str(error))
        if primary == sqlite3.SQLITE_BUSY:
            return Busy(str(error))
        if primary in (
            sqlite3.SQLITE_IOERR,
            sqlite3.SQLITE_CORRUPT,
            sqlite3.SQLITE_NOTADB,
            sqlite3.SQLITE_READONLY,
        ):
            self._damaged = primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
            self._fault = f"{error} ({getattr(error, 'sqlite_errorname', 'unknown')})"
            return StorageFault(self._fault)
        return error


@asynccontextmanager
async def open_writer(path: Path) -> AsyncIterator[Writer]:
    """Open (or create) a database for writing: WAL, synchronous=FULL, checkpoints only when asked.

    Raises StorageFault when the file cannot be opened as such a database. Leaving the block waits for the work at hand.
    """
    executor = OneThread(f"write-{path.name}")
    loop = asyncio.get_running_loop()
    try:
        connection = await loop.run_in_executor(executor, _connect, path)
        try:
            yield Writer(connection, executor)
        finally:
            # Shielded: who leaves while being cancelled twice must not leave the file open.
            await asyncio.shield(loop.run_in_executor(executor, connection.close))
    finally:
        executor.shutdown(wait=False)  # what was handed in is still done; then the thread ends by itself


def _connect(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            _set_up(connection)
            sync_directory(path.parent)
        except BaseException:
            connection.close()
            raise
    except (sqlite3.Error, OSError) as error:
        raise StorageFault(f"{path}: {error}") from error
    return connection


def _set_up(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":  # SQLite stays silently in another mode where it cannot have a WAL
        raise sqlite3.OperationalError(f"no WAL possible here, journal mode is {mode}")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA mmap_size=0")


def read_only_uri(path: Path) -> str:
    """The URI under which SQLite opens a file for reading only."""
    return f"{path.absolute().as_uri()}?mode=ro"


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that can only read, for point look-ups right on the event loop (5 to 7 us each)."""
    connection = sqlite3.connect(read_only_uri(path), uri=True, isolation_level=None)
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA query_only=1")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    return connection

"""Head office's database: SQLAlchemy over SQLite, one writer at a time, readers that see whole commits.

One writer in this process (a lock) and among processes (a lock on a file): the command line works beside a running
daemon, and SQLite 3.7.0 to 3.51.2 can corrupt a WAL when two connections write and checkpoint at the same instant
(sqlite.org/wal.html#walresetbug). What is committed is on disk: WAL with synchronous=FULL.
"""

import asyncio
import fcntl
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TextIO, TypeVar

from sqlalchemy import Connection, Engine, NullPool, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from appliance.domain.errors import DiskFull, StorageFault

Result = TypeVar("Result")
Given = ParamSpec("Given")

READERS = 4
BUSY_TIMEOUT_S = 10
# The driver opens no transactions of its own: an upgrade's DDL is then part of one, like everything else.
_CONNECT = {"isolation_level": None, "timeout": BUSY_TIMEOUT_S}

_WRITER = ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "PRAGMA foreign_keys=ON")
# Only a writer checkpoints, in its turn.
_READER = ("PRAGMA query_only=1", "PRAGMA wal_autocheckpoint=0")
# Primary result codes after which nothing that this process writes can be trusted (sqlite.org/rescode.html).
_FATAL = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_READONLY}


class Database:
    """Use `open_database`."""

    def __init__(self, writer: AsyncEngine, reader: AsyncEngine, long_reader: Engine, turn: TextIO) -> None:
        self._writer = writer
        self._reader = reader
        self._long_reader = long_reader
        self._turn = turn
        self._mine = asyncio.Lock()
        self._running: set[asyncio.Task[Any]] = set()
        self._fault: str | None = None

    def check(self) -> None:
        """Raises StorageFault once the disk has failed this process."""
        if self._fault is not None:
            raise StorageFault(self._fault)

    async def transaction(
        self,
        work: Callable[Concatenate[AsyncConnection, Given], Awaitable[Result]],
        *args: Given.args,
        **kwargs: Given.kwargs,
    ) -> Result:
        """Run `work(connection, ...)` alone among writers; committed and fsynced when this returns.

        An exception out of `work` rolls back. Raises DiskFull, StorageFault. A caller that is cancelled does not
        undo the work: it goes on to its end.
        """

        async def unit() -> Result:
            async with self._turn_to_write():
                self.check()
                async with self._writer.begin() as connection:
                    return await work(connection, *args, **kwargs)

        task = asyncio.create_task(self._guarded(unit), name="transaction")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection that sees the last commit as it was at the first look, whatever is written meanwhile."""
        async with self._reader.connect() as connection:
            yield connection

    async def read_in_thread(self, work: Callable[[Connection], Result]) -> Result:
        """Run a long read on a plain connection in a thread of its own: the loop and other readers go on."""
        return await asyncio.to_thread(self._read, work)

    async def close(self) -> None:
        """Wait until every transaction that was begun has ended, then let go of the file."""
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._reader.dispose()
        await self._writer.dispose()
        self._turn.close()

    def _read(self, work: Callable[[Connection], Result]) -> Result:
        with self._long_reader.connect() as connection:
            return work(connection)

    @asynccontextmanager
    async def _turn_to_write(self) -> AsyncIterator[None]:
        async with self._mine:
            try:
                fcntl.flock(self._turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                await asyncio.to_thread(fcntl.flock, self._turn, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._turn, fcntl.LOCK_UN)

    async def _guarded(self, unit: Callable[[], Awaitable[Result]]) -> Result:
        try:
            return await unit()
        except DBAPIError as error:
            primary = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
            if primary == sqlite3.SQLITE_FULL:
                raise DiskFull(str(error.orig)) from error
            if primary in _FATAL:
                self._fault = str(error.orig)
                raise StorageFault(self._fault) from error
            raise


@asynccontextmanager
async def open_database(path: Path) -> AsyncIterator[Database]:
    """Open a database that `cloud.migrate.migrate` has brought up to date."""
    database = await asyncio.to_thread(_open, path)
    try:
        yield database
    finally:
        await database.close()


def _open(path: Path) -> Database:
    url = f"sqlite+aiosqlite:///{path}"
    writer = create_async_engine(url, connect_args=_CONNECT, pool_size=1, max_overflow=0)
    reader = create_async_engine(url, connect_args=_CONNECT, pool_size=READERS, max_overflow=0)
    long_reader = create_engine(f"sqlite:///{path}", connect_args=_CONNECT, poolclass=NullPool)
    _prepare(writer.sync_engine, _WRITER, begin="BEGIN IMMEDIATE")
    _prepare(reader.sync_engine, _READER, begin="BEGIN")
    _prepare(long_reader, _READER, begin="BEGIN")
    return Database(writer, reader, long_reader, _turn_file(path).open("a"))


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the turn to write while inside, against every other process. Blocks until it is free."""
    with _turn_file(path).open("a") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield


@contextmanager
def plain_connection(path: Path) -> Iterator[Connection]:
    """A connection for long work outside the daemon. Write to the file itself only inside `alone`."""
    engine = create_engine(f"sqlite:///{path}", connect_args=_CONNECT, poolclass=NullPool)
    # Alone among writers, a transaction that begins by reading can always go on to write.
    _prepare(engine, _WRITER, begin="BEGIN")
    with engine.connect() as connection:
        yield connection


def settle(path: Path) -> None:
    """Bring everything that earlier runs committed into the database file itself, and empty the WAL. Blocks.

    Before the first receipt of a run: pages of the WAL that never reached the disk may still be in the page cache,
    and a power cut would take them back. Raises StorageFault when it cannot be done.
    """
    with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)) as connection:
        try:
            busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            raise StorageFault(f"{path}: {error}") from error
    if busy:
        raise StorageFault(f"{path}: another program holds on to the database")


def _turn_file(path: Path) -> Path:
    return path.with_name(path.name + ".turn")


def _prepare(engine: Engine, pragmas: tuple[str, ...], *, begin: str) -> None:
    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(pragma)
        cursor.close()

    # A writer that begins as one never finds out half-way that it may not write.
    @event.listens_for(engine, "begin")
    def _begun(connection: Any) -> None:
        connection.exec_driver_sql(begin)

"""Mistakes that somebody could make in the journal, planted on purpose: a campaign that finds none of them is blind.

Each is a way to open the journal's database that stands in for `open_writer`. They reach into the writer as nothing
in the daemon may.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from sqlite3 import Connection

from appliance.runtime.database import Checkpoint, Result, Writer, open_writer

Opener = Callable[[Path], AbstractAsyncContextManager[Writer]]


class HastyWriter(Writer):
    """Answers as soon as the work is done, while the COMMIT is still on its way."""

    async def transaction(self, work: Callable[[Connection], Result]) -> Result:
        """Like a writer's, but for the moment."""
        loop = asyncio.get_running_loop()
        worked: asyncio.Future[Result] = loop.create_future()

        def announced(connection: Connection) -> Result:
            result = work(connection)
            loop.call_soon_threadsafe(worked.set_result, result)
            return result

        commit = asyncio.ensure_future(super().transaction(announced))
        await asyncio.wait({commit, worked}, return_when=asyncio.FIRST_COMPLETED)
        return worked.result() if worked.done() else commit.result()


class TrustingWriter(Writer):
    """Takes it for granted that what the file shows at start is on the disk."""

    _started = False

    async def checkpoint(self, mode: Checkpoint) -> bool:
        """Like a writer's, but for the one at start."""
        if mode == "TRUNCATE" and not self._started:
            self._started = True
            return True
        return await super().checkpoint(mode)


class ForgetfulWriter(Writer):
    """Goes on after an I/O error, since the next try may work."""

    async def transaction(self, work: Callable[[Connection], Result]) -> Result:
        """Like a writer's, but for the memory."""
        self._fault = None
        return await super().transaction(work)


@asynccontextmanager
async def _without_waiting_for_commits(path: Path) -> AsyncIterator[Writer]:
    async with open_writer(path) as writer:
        yield HastyWriter(writer._connection, writer._executor)


@asynccontextmanager
async def _without_start_checkpoint(path: Path) -> AsyncIterator[Writer]:
    async with open_writer(path) as writer:
        yield TrustingWriter(writer._connection, writer._executor)


@asynccontextmanager
async def _without_stopping(path: Path) -> AsyncIterator[Writer]:
    async with open_writer(path) as writer:
        yield ForgetfulWriter(writer._connection, writer._executor)


@asynccontextmanager
async def _without_full_sync(path: Path) -> AsyncIterator[Writer]:
    async with open_writer(path) as writer:
        relax = "PRAGMA synchronous=NORMAL"
        await writer._run(lambda: writer._connection.execute(relax))
        yield writer


# The disk's own sin: fsync that lies is a switch of the lossy file system, not of the code.
LYING_FSYNC = "lying-fsync"
NONE = "none"
OPENERS: dict[str, Opener] = {
    NONE: open_writer,
    "synchronous-normal": _without_full_sync,
    "ack-before-commit": _without_waiting_for_commits,
    "no-start-checkpoint": _without_start_checkpoint,
    "no-stop-at-fault": _without_stopping,
    LYING_FSYNC: open_writer,
}

"""The box's mirror of the catalogue: mirror.db.

Guarantees: a transfer is applied whole or not at all, and every answer holds articles of exactly one version, which it
names. Everything here can be fetched again, so a file that went bad is set aside and begun anew.

Look-ups by id and GTIN run on the event loop: they take some 10 us, a hop to a thread costs more. Searches can take
milliseconds (two frequent words that never meet), so they have a thread with a connection of its own.
"""

import asyncio
import contextlib
import errno
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple, TypeVar

from appliance.domain import gtin
from appliance.domain.catalogue import Article, read_transfer, unpack_transfer, words
from appliance.domain.errors import BadInput, DiskFull, SchemaTooNew, StorageFault
from appliance.runtime.database import Writer, open_reader, open_writer
from appliance.runtime.migrations import migrate
from appliance.storage.mirror_export import one_version, pack_changes, write_snapshot
from appliance.storage.mirror_load import Applied, State, live_digest, load, read_state, stored_article
from appliance.storage.prices import Prices

log = logging.getLogger(__name__)

Result = TypeVar("Result")

SCHEMA = files("appliance.storage") / "schema" / "mirror"
FOUND_MAX = 100
# What somebody types at a till; more words than this is a pasted text.
WORDS_MAX = 10
_SIDE_FILES = ("", "-wal", "-shm")


class Found(NamedTuple):
    """Articles, all of one catalogue version."""

    version: int
    articles: list[Article]


class Confirmation(NamedTuple):
    """The cloud said that the version here is current: when, by the box's wall clock (RFC 3339) and by its boot's."""

    at: str
    boot: str
    mono_ns: int


class Mirror:
    """Look into the catalogue, and bring it up to date. Use `open_mirror`."""

    def __init__(
        self,
        path: Path,
        writer: Writer,
        reader: sqlite3.Connection,
        searcher: sqlite3.Connection,
        thread: ThreadPoolExecutor,
    ) -> None:
        self.writer = writer  # policies live in the same file
        self._path = path
        self.prices = Prices(reader)
        self._reader = reader
        self._searcher = searcher
        self._thread = thread
        self._making = asyncio.Lock()
        self._made: State | None = None

    @property
    def state(self) -> State:
        """The catalogue in force as a whole: version, number of articles, digest."""
        return self._now(lambda: read_state(self._reader))

    @property
    def version(self) -> int:
        """The catalogue version in force; 0 when there is none yet."""
        return self.state.version

    @property
    def count(self) -> int:
        """How many articles can be sold."""
        return self.state.articles

    def by_id(self, article_id: str) -> Found:
        """The article of that id, if it can be sold."""
        return self._look_up(
            "SELECT c.version, a.body FROM catalogue c LEFT JOIN article a ON a.article_id = ? AND NOT a.deleted",
            article_id,
        )

    def by_gtin(self, code: str) -> Found:
        """The articles with that GTIN-8, -12, -13 or -14 (nearly always one). Raises BadInput unless it is one."""
        normalised = gtin.normalise(code)
        if normalised is None:
            raise BadInput("a GTIN has 8, 12, 13 or 14 digits, the last of which checks the others")
        return self._look_up(
            "SELECT c.version, a.body FROM catalogue c LEFT JOIN barcode b ON b.gtin = ?"
            " LEFT JOIN article a ON a.id = b.article LIMIT ?",
            int(normalised),
            FOUND_MAX,
        )

    async def search(self, text: str, limit: int = 20) -> Found:
        """The first articles whose names hold a word that begins with each of these; accents do not count.

        The order is the catalogue's own. Raises BadInput on no words, too many, or a limit that is not 1 to 100.
        """
        wanted = words(text)
        if not 0 < len(wanted) <= WORDS_MAX:
            raise BadInput(f"a search needs 1 to {WORDS_MAX} words")
        if not 0 < limit <= FOUND_MAX:
            raise BadInput(f"a search gives 1 to {FOUND_MAX} articles")
        # Words are letters and digits only; quoted, none of them is an operator (sqlite.org/fts5.html, section 3).
        query = " ".join(f'"{word}"*' for word in wanted)
        return await self._in_thread(lambda: self._search(query, limit))

    async def apply(self, file: Path, *, anew: bool = False) -> Applied:
        """Bring the catalogue to what a packed transfer says; on disk when this returns. Readers never see a part.

        A snapshot replaces everything, also a newer version: the head office is right (see mirror_load). Changes must
        follow the version here; without news they change nothing. `anew` trusts nothing that is here.
        Raises Malformed or TooLarge (cut, damaged or no transfer), SnapshotRequired, DiskFull, StorageFault, OSError:
        the version here then stays whole.
        """

        def work(connection: sqlite3.Connection) -> Applied:
            with file.open("rb") as packed:
                return load(connection, read_transfer(unpack_transfer(packed)), anew=anew)

        applied = await self.writer.transaction(work)
        self.prices.forget()
        if applied.since != applied.state.version:
            # A snapshot leaves a WAL as large as the catalogue. A reader may be in the way: `confirm` copies on.
            await self.writer.checkpoint("TRUNCATE")
        return applied

    async def confirm(self, confirmation: Confirmation) -> None:
        """Keep when the cloud said that the version here is current."""
        await self.writer.transaction(
            lambda connection: connection.execute(
                "UPDATE catalogue SET confirmed_at = ?, confirmed_boot = ?, confirmed_mono_ns = ?",
                confirmation,
            )
        )
        await self.writer.checkpoint("PASSIVE")

    @property
    def confirmed(self) -> Confirmation | None:
        """The last confirmation kept."""
        query = "SELECT confirmed_at, confirmed_boot, confirmed_mono_ns FROM catalogue"
        at, boot, mono_ns = self._now(lambda: self._reader.execute(query).fetchone())
        return None if at is None else Confirmation(at, boot, mono_ns)

    async def verify(self) -> bool:
        """Whether the articles on disk are still those that were applied (reads them all, on the search thread).

        A file whose very structure is broken is marked, to be set aside at the next start.
        """
        try:
            return await self._in_thread(self._verify)
        except StorageFault:
            with suppress(OSError):
                await asyncio.to_thread(_mark(self._path).touch)
            return False

    async def snapshot(self) -> Path:
        """The whole catalogue as a packed transfer: a file made once per version, and replaced, never changed.

        Raises DiskFull, StorageFault.
        """
        into = self._path.with_name(self._path.stem + "-snapshot.zst")
        async with self._making:
            if self._made != self.state:
                try:
                    self._made = await asyncio.to_thread(write_snapshot, self._path, into)
                except OSError as error:
                    kind = DiskFull if error.errno == errno.ENOSPC else StorageFault
                    raise kind(f"{into.name}: {error.strerror}") from error
        return into

    async def changes(self, since: int) -> bytes:
        """What changed after a version as a packed transfer, tombstones included. Raises SnapshotRequired."""
        return await self._in_thread(lambda: pack_changes(self._searcher, since))

    def _look_up(self, query: str, *values: str | int) -> Found:
        # One statement, so that version and articles come out of one state of the file.
        rows = self._now(lambda: self._reader.execute(query, values).fetchall())
        return Found(rows[0][0], [stored_article(body) for _, body in rows if body is not None])

    def _now(self, job: Callable[[], Result]) -> Result:
        try:
            return job()
        except sqlite3.DatabaseError as error:
            raise StorageFault(f"{self._path.name}: {error}") from error

    def _search(self, query: str, limit: int) -> Found:
        with one_version(self._searcher):
            (version,) = self._searcher.execute("SELECT version FROM catalogue").fetchone()
            # By rowid, not by rank: bm25 over a short prefix reads every article that has it (100 times slower).
            rows = self._searcher.execute(
                "SELECT a.body FROM article_words w JOIN article a ON a.id = w.rowid"
                " WHERE article_words MATCH ? ORDER BY w.rowid LIMIT ?",
                (query, limit),
            ).fetchall()
        return Found(version, [stored_article(body) for (body,) in rows])

    def _verify(self) -> bool:
        with one_version(self._searcher):
            return live_digest(self._searcher) == read_state(self._searcher).digest

    async def _in_thread(self, job: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._now, job)


@asynccontextmanager
async def open_mirror(path: Path) -> AsyncIterator[Mirror]:
    """Open (or begin) the mirror while inside. Raises StorageFault when not even an empty one can be begun.

    A file that cannot be opened, was found broken when last used, or was written by a newer release is set aside
    first: a box without a catalogue still sells what the tills know, a box that does not start sells nothing.
    """
    await asyncio.to_thread(_set_aside_if_marked, path)
    async with contextlib.AsyncExitStack() as stack:
        try:
            writer = await _open(path, stack)
        except (StorageFault, SchemaTooNew) as fault:
            log.error("mirror.set_aside", extra={"file": path.name, "detail": str(fault)})
            await stack.aclose()
            await asyncio.to_thread(_set_aside, path)
            writer = await _open(path, stack)
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"read-{path.name}")
        stack.callback(thread.shutdown, wait=False)  # closing the connection is its last job, and waited for
        loop = asyncio.get_running_loop()
        searcher = await loop.run_in_executor(thread, open_reader, path)
        stack.push_async_callback(loop.run_in_executor, thread, searcher.close)
        reader = stack.enter_context(contextlib.closing(open_reader(path)))
        yield Mirror(path, writer, reader, searcher, thread)


async def _open(path: Path, stack: contextlib.AsyncExitStack) -> Writer:
    writer = await stack.enter_async_context(open_writer(path))
    await migrate(writer, SCHEMA)
    await writer.checkpoint("TRUNCATE")
    await writer.transaction(read_state)
    return writer


def _mark(path: Path) -> Path:
    return path.with_name(path.name + ".broken")


def _set_aside_if_marked(path: Path) -> None:
    if _mark(path).exists():
        log.error("mirror.set_aside", extra={"file": path.name, "detail": "its structure was found broken"})
        _set_aside(path)
        _mark(path).unlink()


def _set_aside(path: Path) -> None:
    for side in _SIDE_FILES:
        with suppress(FileNotFoundError):
            path.with_name(path.name + side).replace(path.with_name(path.name + ".aside" + side))

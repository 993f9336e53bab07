"""Own writer thread or aiosqlite? The journal's group commits both ways: same rows, same seals, same checkpoints.

Without HTTP, and in this process: what is compared is only how a group reaches the disk. The rule of the project: a
writer thread of our own only if it gives at least 1.3 times the sales.
"""

import asyncio
import itertools
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import aiosqlite
import msgspec
import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.domain.dsse import Signer
from appliance.domain.event import GENESIS, Position, seal
from appliance.domain.sale import Sale
from appliance.domain.statements import HEAD_TYPE, Head, sign
from appliance.runtime.clock import SystemClock, rfc3339
from appliance.storage import journal_tables as tables
from appliance.storage.commit import Draft, Sealer
from appliance.storage.journal import GROUP_EVENTS_MAX, open_journal
from appliance.storage.packing import Packer
from appliance.storage.unchecked import CHECKPOINT_EVENTS, CHECKPOINT_EVENTS_MAX
from bench.load import Outcome, outcome, series
from bench.report import Row, against, row
from bench.rounds import alternate
from bench.sales import fresh_ids
from bench.settings import CLIENTS, Bench
from bench.shop import draft_of

NAME = "writer"
BOX = "sb-bench"
BASKETS = 256

Append = Callable[[Draft], Awaitable[object]]
Opener = Callable[[Path, Sealer], AbstractAsyncContextManager[Append]]


class AiosqliteJournal:
    """Appends drafts through aiosqlite's public calls: one task commits whatever waits, as the journal does."""

    def __init__(self, connection: aiosqlite.Connection, sealer: Sealer) -> None:
        self._connection = connection
        self._sealer = sealer
        self._end = Position(1, 0, GENESIS)
        self._waiting: deque[tuple[Draft, asyncio.Future[None]]] = deque()
        self._wake = asyncio.Event()
        self._unchecked = 0
        self._packer = Packer()

    async def append(self, draft: Draft) -> None:
        """On disk when this returns."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((draft, future))
        self._wake.set()
        await future

    async def run(self) -> None:
        """Commit groups until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                group = [self._waiting.popleft() for _ in range(min(len(self._waiting), GROUP_EVENTS_MAX))]
                await self._commit([draft for draft, _ in group])
                for _, future in group:
                    if not future.done():
                        future.set_result(None)
                if self._unchecked >= (CHECKPOINT_EVENTS_MAX if self._waiting else CHECKPOINT_EVENTS):
                    await self._connection.execute_fetchall("PRAGMA wal_checkpoint(PASSIVE)")
                    self._unchecked = 0

    async def _commit(self, drafts: Sequence[Draft]) -> None:
        connection, sealer = self._connection, self._sealer
        await connection.execute("BEGIN IMMEDIATE")
        marks = ",".join("?" * len(drafts))
        keys = [draft.sale_key for draft in drafts]
        query = f"SELECT place FROM sale WHERE sale_id IN ({marks})"  # noqa: S608  only marks
        known = await connection.execute_fetchall(query, keys)
        assert not known
        at, reading = rfc3339(sealer.clock.wall()), sealer.clock.reading()
        places, bodies, sales = [], [], []
        for draft in drafts:
            data = msgspec.Raw(draft.data)
            sealed = seal(
                self._end, box=BOX, kind=draft.kind, till=draft.till, at=at, clock=reading, data=data
            )
            self._end = Position(1, self._end.seq + 1, sealed.hash)
            places.append(tables.place_of(1, self._end.seq))
            bodies.append(sealed.body)
            sales.append((draft.sale_key, places[-1]))
        events = zip(places, self._packer.pack(bodies), strict=True)
        envelope = sign(sealer.signer, HEAD_TYPE, Head(BOX, 1, self._end.seq, self._end.head.hex()))
        await connection.executemany("INSERT INTO event (place, body) VALUES (?, ?)", events)
        await connection.executemany("INSERT INTO sale (sale_id, place) VALUES (?, ?)", sales)
        await connection.execute("INSERT INTO head (place, envelope) VALUES (?, ?)", (places[-1], envelope))
        await connection.execute("COMMIT")
        self._unchecked += len(drafts)


def measure(bench: Bench) -> Iterator[Row]:
    """Rows for 1, 8 and 64 waiting callers."""
    baskets = list(itertools.islice(bench.shop.sales(1), BASKETS))
    for waiting in CLIENTS:
        runs = {
            name: partial(
                _run, open_one, bench.folder / f"{name}.db", baskets, waiting, bench.settings.seconds
            )
            for name, open_one in (("own", _own), ("aiosqlite", _aiosqlite))
        }
        taken = alternate(bench.settings.rounds, runs)
        rate, p99 = series(taken, lambda done: done.per_s), series(taken, lambda done: done.p99_ms)
        yield row(
            NAME,
            f"{waiting} waiting, committed",
            "sales/s",
            rate["own"],
            against("aiosqlite group", rate["own"], rate["aiosqlite"], ">= 1.3"),
        )
        yield row(
            NAME,
            f"{waiting} waiting, p99",
            "ms",
            p99["own"],
            against("aiosqlite group", p99["own"], p99["aiosqlite"]),
        )


@asynccontextmanager
async def _own(file: Path, sealer: Sealer) -> AsyncIterator[Append]:
    async with open_journal(file, sealer) as journal:
        yield journal.append


@asynccontextmanager
async def _aiosqlite(file: Path, sealer: Sealer) -> AsyncIterator[Append]:
    async with aiosqlite.connect(file, isolation_level=None) as connection:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=0"):
            await connection.execute_fetchall(f"PRAGMA {pragma}")
        await connection.executescript((tables.SCHEMA / "0001_initial.sql").read_text())
        journal = AiosqliteJournal(connection, sealer)
        task = asyncio.create_task(journal.run(), name="aiosqlite-journal")
        try:
            yield journal.append
        finally:
            task.cancel()


def _run(open_one: Opener, file: Path, baskets: Sequence[Sale], waiting: int, seconds: float) -> Outcome:
    for side in ("", "-wal", "-shm"):
        file.with_name(file.name + side).unlink(missing_ok=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_append_for(open_one, file, baskets, waiting, seconds))


async def _append_for(
    open_one: Opener, file: Path, baskets: Sequence[Sale], waiting: int, seconds: float
) -> Outcome:
    sealer = Sealer(BOX, Signer(Ed25519PrivateKey.generate()), SystemClock())
    taken_ns: list[int] = []
    drafts = _drafts(baskets)

    async def caller(append: Append, until: float) -> None:
        while time.perf_counter() < until:
            draft = next(drafts)
            began_ns = time.perf_counter_ns()
            await append(draft)
            taken_ns.append(time.perf_counter_ns() - began_ns)

    async with open_one(file, sealer) as append:
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(waiting):
                group.create_task(caller(append, began + seconds), name=f"caller-{number}")
        took_s = time.perf_counter() - began
    return outcome(taken_ns, took_s)


def _drafts(baskets: Sequence[Sale]) -> Iterator[Draft]:
    """Drafts of new sales; only the id is made each time, so that the loop has little to do beside appending."""
    first = [draft_of(sale) for sale in baskets]
    frames = [
        (draft, *draft.sale.partition(sale.sale_id.encode()))
        for draft, sale in zip(first, baskets, strict=True)
    ]
    ids = fresh_ids(random.Random(1))
    for draft, before, _, after in itertools.cycle(frames):
        sale_id = next(ids)
        body = b"%b%b%b" % (before, sale_id.encode(), after)
        key = bytes.fromhex(sale_id.replace("-", ""))
        yield draft._replace(data=b'{"flags":[],"sale":%b}' % body, sale_key=key, sale=body)

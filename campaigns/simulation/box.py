"""The box: all that `appliance.wiring` builds behind its doors, on a card that can lose its power.

Left out are the doors alone, HTTP and mDNS: tills call the services.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any, TypeVar, cast

import aiosqlite

from appliance.config import Config, Disk, Heartbeat, Journal, Mirror
from appliance.domain.errors import ConfigError
from appliance.domain.health import HostReading
from appliance.domain.wear import BoardReading
from appliance.runtime.clock import Clock
from appliance.runtime.database import open_reader
from appliance.runtime.trusted_time import TrustedClock
from appliance.services.drain import Drain
from appliance.services.feed import Feed
from appliance.services.operations import Operations
from appliance.services.report import Report
from appliance.services.selling import Selling
from appliance.services.wan import WanWatch
from appliance.storage import journal as journals
from appliance.storage.mirror import Mirror as MirrorStore
from appliance.storage.outgoing import Outgoing
from appliance.wiring import Outside, open_inside
from campaigns.simulation.card import Card, CardBallast
from campaigns.simulation.line import HEARTBEAT_S, Line, Observe, Uplink
from campaigns.simulation.loop import jobs
from campaigns.simulation.parts import Parts

Answer = TypeVar("Answer")

# So short that a seed of some days prunes.
KEEP_DAYS = 1
POLL_S = 3_600.0


class NoBox(Exception):
    """Nobody answers a till: no power, or it went while the request was on its way."""


class SimulatedHost:
    """Implements services.ports.Host."""

    def read(self) -> HostReading:
        """Always at ease."""
        return HostReading(0.5, 50_000_000, 0.1)


class SimulatedBoard:
    """A machine that says nothing of itself."""

    def read(self) -> BoardReading:
        """The same every time."""
        return BoardReading()


class InlineReader:
    """What `Outgoing` needs of an aiosqlite connection, without the thread behind it."""

    def __init__(self, path: Path) -> None:
        self.connection = open_reader(path)

    async def execute_fetchall(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        """All rows."""
        return self.connection.execute(sql, parameters).fetchall()

    def close(self) -> None:
        """Close the file."""
        self.connection.close()


class Box:
    """One run of the daemon, from power on to power off."""

    def __init__(self, card: Card, line: Line, clock: Clock, rng: random.Random, parts: Parts) -> None:
        self.card = card
        self.clock = clock
        self.report: Report
        self.feed: Feed
        self.ready = False
        self._line = line
        self._rng = rng
        self._parts = parts
        self._stop = asyncio.Event()
        self._asked: set[asyncio.Future[Any]] = set()
        self._handling: set[asyncio.Task[Any]] = set()
        self.config = Config(
            state=card.folder,
            journal=Journal(keep_days=KEEP_DAYS),
            disk=Disk(ballast_mib=1, floor_mib=1, download_floor_mib=2),
            mirror=Mirror(poll_s=POLL_S),
            heartbeat=Heartbeat(every_s=HEARTBEAT_S),
        )

    @property
    def journal_file(self) -> Path:
        """Where the journal is."""
        return self.card.folder / "journal.db"

    @property
    def journal(self) -> journals.Journal:
        """See Report; so are the others."""
        return self.report.journal

    @property
    def selling(self) -> Selling:
        """Accepts sales."""
        return self.report.selling

    @property
    def operations(self) -> Operations:
        """Passes on what may only happen online."""
        return self.report.operations

    @property
    def drain(self) -> Drain:
        """Brings the journal to head office."""
        return self.report.drain

    @property
    def wan(self) -> WanWatch:
        """Knows how the line is."""
        return self.report.wan

    @property
    def mirror(self) -> MirrorStore:
        """The catalogue."""
        return self.report.mirror

    async def run(self, opened: Callable[[], None]) -> None:
        """Serve until the power goes or a stop is asked for. `opened` is called when tills can sell."""
        jobs.set(self.card)
        async with AsyncExitStack() as stack:
            opening = open_inside(self.config, TrustedClock(self.clock, None), self._rng, self._outside())
            inside = await stack.enter_async_context(opening)
            self.feed, self.report = inside.feed, inside.report
            self.ready = self.card.powered
            if self.ready:
                opened()
            await self._stop.wait()
            self.ready = False
            await self._end_requests()
        self._hang_up()

    async def is_alone(self) -> bool:
        """Whether a second daemon on the same card is refused."""
        try:
            async with open_inside(self.config, TrustedClock(self.clock, None), self._rng, self._outside()):
                return False
        except ConfigError:
            return True

    def stop(self) -> None:
        """Ask it to end, in good order."""
        self._stop.set()

    def lose_power(self) -> None:
        """From this moment on nobody hears of it; what is left to run runs off-stage."""
        self.card.powered = self.ready = False
        self._hang_up()
        self._stop.set()

    async def ask(self, work: Callable[["Box"], Awaitable[Answer]]) -> Answer:
        """A till's request. It goes on when the till hangs up; raises NoBox when the power goes."""
        if not self.ready:
            raise NoBox
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asked.add(answer)

        async def handle() -> None:
            try:
                result = await work(self)
            except Exception as error:
                if not answer.done():
                    answer.set_exception(error)
            else:
                if not answer.done():
                    answer.set_result(result)

        self.spawn(handle())
        try:
            return await answer
        finally:
            self._asked.discard(answer)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something as part of this machine until it stops."""
        token = jobs.set(self.card)
        task = asyncio.get_running_loop().create_task(work)
        jobs.reset(token)
        self._handling.add(task)
        task.add_done_callback(self._handling.discard)

    def _outside(self) -> Outside:
        @asynccontextmanager
        async def open_cloud(_: str, *, observe: Observe, **__: Any) -> AsyncIterator[Uplink]:
            yield Uplink(self._line, observe, lambda: self.card.powered)

        @asynccontextmanager
        async def open_outgoing(_: str) -> AsyncIterator[Outgoing]:
            with closing(InlineReader(self.journal_file)) as reader:
                yield self._parts.outgoing(cast(aiosqlite.Connection, reader), self.journal_file)

        return Outside(
            open_cloud=open_cloud,
            open_outgoing=open_outgoing,
            host=lambda _: SimulatedHost(),
            board=lambda _: SimulatedBoard(),
            ballast=lambda path, size: CardBallast(path, size, self.card),
            drain=self._parts.drain,
        )

    async def _end_requests(self) -> None:
        for task in self._handling:
            task.cancel()
        if self._handling:
            await asyncio.wait(self._handling)

    def _hang_up(self) -> None:
        for answer in self._asked:
            if not answer.done():
                answer.set_exception(NoBox())
        self._asked = set()

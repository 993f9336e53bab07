"""The box: the product's own services, built as `appliance.wiring` builds them, on a card that can lose its power.

Left out, since their work is not what is judged here: HTTP (tills call the services), mDNS, console and heartbeat.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import aiosqlite

from appliance.domain.dsse import Signer
from appliance.domain.identity import box_id
from appliance.domain.statements import Keys
from appliance.runtime.clock import Clock
from appliance.runtime.database import open_reader
from appliance.runtime.supervision import Service, supervised
from appliance.services.drain import Drain
from appliance.services.feed import Feed
from appliance.services.gate import Gate
from appliance.services.mirror import MirrorKeeper
from appliance.services.modes import ModeTeller
from appliance.services.operations import Operations
from appliance.services.retention import Retention
from appliance.services.selling import Selling
from appliance.services.wan import WanWatch
from appliance.services.witness import Witness
from appliance.storage.commit import Sealer
from appliance.storage.headfile import HeadFile
from appliance.storage.journal import Journal, open_journal
from appliance.storage.mirror import open_mirror
from appliance.storage.policies import Policies
from campaigns.simulation.card import Card
from campaigns.simulation.line import Line, Uplink
from campaigns.simulation.loop import jobs
from campaigns.simulation.parts import Parts

Answer = TypeVar("Answer")

# The catalogue is a side show here: asked for now and then, so that mirror and journal share the card.
POLL_S = 3_600.0
KEEP_DAYS = 35


class NoBox(Exception):
    """Nobody answers a till: no power, or it went while the request was on its way."""


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

    def __init__(
        self, card: Card, line: Line, signer: Signer, clock: Clock, rng: random.Random, parts: Parts
    ) -> None:
        self.card = card
        self.name = box_id(signer.public_key)
        self.clock = clock
        self.feed = Feed()
        self.wan = WanWatch(clock, rng)
        self.journal: Journal
        self.selling: Selling
        self.operations: Operations
        self.drain: Drain
        self.ready = False
        self._line = line
        self._signer = signer
        self._rng = rng
        self._parts = parts
        self._stop = asyncio.Event()
        self._asked: set[asyncio.Future[Any]] = set()
        self._handling: set[asyncio.Task[Any]] = set()

    @property
    def journal_file(self) -> Path:
        """Where the journal is."""
        return self.card.folder / "journal.db"

    async def run(self, opened: Callable[[], None]) -> None:
        """Serve until the power goes or a stop is asked for. `opened` is called when tills can sell."""
        jobs.set(self.card)
        keys: Keys = self._line.office.keys
        async with AsyncExitStack() as stack:
            sealer = Sealer(self.name, self._signer, self.clock)
            self.journal = await stack.enter_async_context(open_journal(self.journal_file, sealer))
            witness = Witness(self.journal, HeadFile(self.card.folder / "head", self._signer))
            await witness.look()
            reader = stack.enter_context(closing(InlineReader(self.journal_file)))
            outgoing = self._parts.outgoing(cast(aiosqlite.Connection, reader), self.journal_file)
            mirror = await stack.enter_async_context(open_mirror(self.card.folder / "mirror.db"))
            uplink = Uplink(self._line, self.wan.observe, lambda: self.card.powered)
            gate = Gate(Policies(mirror.writer), keys, self.wan)
            await gate.load()
            self.operations = Operations(gate, uplink, self.journal)
            self.selling = Selling(self.journal, gate, self.operations, self.name, mirror.prices)
            incoming = self.card.folder / "catalogue.incoming"
            keeper = MirrorKeeper(
                mirror, uplink, self.feed, self.journal, self.clock, self._rng, incoming, POLL_S
            )
            self.drain = self._parts.drain(
                self.journal,
                outgoing,
                uplink,
                self.wan,
                self.feed,
                keys,
                self.clock,
                self._rng,
                rolled_back=witness.rolled_back,
            )
            retention = Retention(self.journal, self.clock, KEEP_DAYS)
            await self.journal.record("started", {"software": "simulated"})
            services = (
                Service("wan", partial(self.wan.run, uplink.probe)),
                Service("modes", ModeTeller(self.wan, self.feed, self.journal).run),
                Service("drain", self.drain.run),
                Service("witness", witness.run),
                Service("retention", retention.run),
                Service("mirror", keeper.run),
            )
            await stack.enter_async_context(supervised(services, self.clock, self._rng))
            self.ready = self.card.powered
            if self.ready:
                opened()
            await self._stop.wait()
            self.ready = False
            await self._end_requests()
        self._hang_up()

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

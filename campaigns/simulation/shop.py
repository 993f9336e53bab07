"""One shop from one seed: put together, lived in for some days, mended, judged."""

import asyncio
import random
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from appliance.domain.dsse import Signer
from appliance.domain.identity import box_id
from campaigns.simulation.box import Box
from campaigns.simulation.clock import DAY_S, TrueTime, between
from campaigns.simulation.counter import Counter
from campaigns.simulation.line import Line
from campaigns.simulation.machine import Machine
from campaigns.simulation.oracle import DRAIN_S, Oracle, Trace
from campaigns.simulation.parts import Parts
from campaigns.simulation.strangers import Strangers
from campaigns.simulation.tills import Disk, Till
from campaigns.simulation.weather import Weather

TILLS = ("till-1", "till-2", "till-3")
# Open from 9 to 20, when a customer comes to a till every so often.
OPENS_S, CLOSES_S, CUSTOMER_EVERY_S = 3_600.0, 12 * 3_600.0, 240.0
NIGHT_S = 11.5 * 3_600.0
SETTLE_S = 900.0
_key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


class Shop:
    """The world of one seed: a machine with the box on it, three tills, a line, head office, and weather."""

    def __init__(self, seed: int, folder: Path, parts: Parts) -> None:
        self._seed = seed
        self._time = TrueTime()
        self.trace = Trace(self._time.monotonic)
        signer = Signer(_key)
        keys = {signer.key_id: signer.public_key}
        self.office = parts.office(box_id(signer.public_key), keys, self._time)
        self.line = Line(self.office, self._time, self._rng("line"))
        self.oracle = Oracle(self.office, keys, self.trace)
        self.machine = Machine(folder, self.line, self.oracle, parts, self._rng, self._box_is_up)
        self.weather = Weather(
            self.machine,
            self.line,
            self.trace,
            self.kill_till,
            Strangers(self.office, self.oracle),
            self._rng,
            rollback=parts.rollback,
        )
        self.weather.calm_ended = self._judge_backlog
        self.disks = [Disk() for _ in TILLS]
        self._tills: list[Till | None] = [None] * len(TILLS)
        self._lives: list[list[asyncio.Task[None]]] = [[] for _ in TILLS]
        self._looks = self._rng("looks")

    def _rng(self, name: str) -> random.Random:
        """Chance of one kind alone, so that a change of another does not change it."""
        return random.Random(f"{self._seed}/{name}")

    async def kill_till(self, number: int, off_s: float) -> None:
        """It comes back with its disk and nothing else."""
        for task in self._lives[number]:
            task.cancel()
        self._tills[number] = None
        await self._time.sleep(off_s)
        self._start_till(number)

    # --- life

    async def live(self, days: float) -> None:
        """From the first morning on; returns when all is mended and settled, or a promise is broken."""
        self.machine.enrol(_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        power = asyncio.create_task(self.machine.run(), name="power")
        for number in range(len(TILLS)):
            self._start_till(number)
        self.weather.begin()
        nights = asyncio.create_task(self._nights(), name="nights")
        end_s = days * DAY_S
        while not self.oracle.broken and self._time.monotonic() < end_s:
            await self._time.sleep(60.0)
            self._judge_now()
        nights.cancel()
        if not self.oracle.broken:
            await self._mend()
        self.machine.end()
        await power
        if not self.oracle.broken:
            self.oracle.look_at_all_books(self.machine.ground / "journal.db")

    async def _nights(self) -> None:
        """Two shops in three switch everything off at the fuse box when they close."""
        rng = self._rng("nights")
        if rng.random() < 1 / 3:
            return
        while True:
            closing_s = CLOSES_S + between(rng, 60.0, 1_800.0)
            await self._time.sleep((closing_s - self._time.monotonic()) % DAY_S)
            self.machine.cut_power("night", NIGHT_S)
            await self._time.sleep(NIGHT_S)

    async def _mend(self) -> None:
        await self.weather.mend()
        self.machine.off_s = min(self.machine.off_s, 1.0)
        for number, till in enumerate(self._tills):
            if till is None:
                self._start_till(number)
        until_s = self._time.monotonic() + SETTLE_S
        if self.oracle.was_rolled_back:
            await self.machine.call_technician()
        # Twice in a row: what the box says of the line that is back follows a moment later, and travels too.
        calm = 0
        while self._time.monotonic() < until_s and not self.oracle.broken and calm < 2:
            await self._time.sleep(5.0)
            calm = calm + 1 if self._settled() else 0
            if self.oracle.was_rolled_back:
                for till in self._tills:
                    if till is not None:
                        till.look_again()
        self._judge_settled()

    def _settled(self) -> bool:
        box = self.machine.box
        tills = all(till is not None and till.waiting == 0 for till in self._tills)
        return tills and box is not None and box.wan.link.online and box.journal.backlog() == 0

    # --- what is judged when

    def _judge_now(self) -> None:
        """What must hold at any moment, whatever the weather."""
        self.oracle.look_at_receipts()
        box = self.machine.box
        if box is None:
            return
        self.oracle.look_at_catalogue(box, self._looks)
        if not self.oracle.was_rolled_back:
            self.oracle.expect(box.drain.stopped is None, "2", f"the drain stopped: {box.drain.stopped!r}")
        pruning = box.report.retention.stopped
        self.oracle.expect(pruning is None, "4", f"pruning stopped: {pruning}")

    def _judge_backlog(self, calm_s: float) -> None:
        box = self.machine.box
        if self.oracle.was_rolled_back:
            return  # the drain waits for a person
        if box is not None and calm_s > DRAIN_S and box.clock.monotonic() > DRAIN_S:
            body = box.journal.oldest_waiting()
            if body is not None:
                self.oracle.look_at_age(body, box)

    def _judge_settled(self) -> None:
        box = self.machine.box
        self.oracle.expect(box is not None, "11", "the box does not come back")
        if box is None:
            return
        stopped = box.drain.stopped
        self.oracle.expect(stopped is None, "2", f"the drain stopped: {stopped!r}")
        self.oracle.look_at_backlog(box.journal.backlog(), SETTLE_S)
        waiting = sum(till.waiting for till in self._tills if till is not None)
        self.oracle.expect(waiting == 0, "2", f"{waiting} sales still wait at tills {SETTLE_S:.0f} s later")
        self.oracle.look_for_all("at the end")

    # --- tills

    def _box_is_up(self, box: Box) -> None:
        for till in self._tills:
            if till is not None:
                till.met(box)

    def _start_till(self, number: int) -> None:
        rng = self._rng(f"till/{number}/{self._time.monotonic():.3f}")
        till = Till(
            TILLS[number],
            self.disks[number],
            lambda: self.machine.box,
            self.line,
            self.oracle,
            self._time,
            rng,
            self.machine.told_ack,
            two_ways=number == 0,
        )
        self._tills[number] = till
        if (box := self.machine.box) is not None:
            till.met(box)
        self._lives[number] = [
            asyncio.create_task(self._serve(Counter(till), rng), name=till.name),
            asyncio.create_task(till.settle(), name=f"{till.name} settles"),
        ]
        for task in self._lives[number]:
            task.add_done_callback(self._till_ended)

    def _till_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.oracle.fail("-", f"{task.get_name()} ended with {error!r}")

    async def _serve(self, counter: Counter, rng: random.Random) -> None:
        while True:
            await self._time.sleep(rng.expovariate(1 / CUSTOMER_EVERY_S))
            of_day_s = self._time.monotonic() % DAY_S
            if not OPENS_S <= of_day_s < CLOSES_S:
                await self._time.sleep((OPENS_S - of_day_s) % DAY_S)
            await counter.serve()

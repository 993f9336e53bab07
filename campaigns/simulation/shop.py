"""One shop from one seed: put together, lived in for some days, mended, judged."""

import asyncio
import logging
import random
import shutil
import tempfile
import traceback
from collections import Counter
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.domain.dsse import Signer
from appliance.domain.errors import CannotAccept
from appliance.domain.identity import box_id
from appliance.runtime.clock import Clock
from appliance.services.witness import open_epoch
from appliance.storage.commit import Sealer
from appliance.storage.headfile import HeadFile
from appliance.storage.journal import open_journal
from campaigns.simulation.box import Box
from campaigns.simulation.clock import Lead, MachineClock, TrueTime
from campaigns.simulation.line import Line
from campaigns.simulation.loop import run_virtually
from campaigns.simulation.oracle import DRAIN_S, Oracle, Trace
from campaigns.simulation.parts import Parts
from campaigns.simulation.tills import Disk, Till
from campaigns.simulation.weather import DAY_S, Weather, between

TILLS = ("till-1", "till-2", "till-3")
# A folder of our own is made in it: how fast a card is, the simulation says itself.
TMPFS = Path("/dev/shm")  # noqa: S108
# Open from 9 to 20, when a customer comes to a till every so often.
OPENS_S, CLOSES_S, CUSTOMER_EVERY_S = 3_600.0, 12 * 3_600.0, 240.0
NIGHT_S = 11.5 * 3_600.0
SETTLE_S = 900.0
BOOT_S = (5.0, 20.0)
# systemd tries again (RestartSec) when the daemon ends by itself.
RESTART_S = 5.0
_key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


class Outcome(msgspec.Struct, frozen=True):
    """What came of one seed; `broken` is empty when every promise held."""

    seed: int
    virtual_s: float
    sales: int
    acked: int
    events: int
    checks: int
    faults: dict[str, int]
    trace: str
    broken: list[str]
    last: list[str]


class Shop:
    """The world of one seed."""

    def __init__(self, seed: int, folder: Path, parts: Parts) -> None:
        self._seed = seed
        self._folder = folder
        self._parts = parts
        self._time = TrueTime()
        self._lead = Lead()
        self.trace = Trace(self._time.monotonic)
        self._signer = Signer(_key)
        keys = {self._signer.key_id: self._signer.public_key}
        self._office = parts.office(box_id(_key.public_key()), keys, self._time)
        self.line = Line(self._office, self._time, self._rng("line"))
        self.oracle = Oracle(self._office, keys, self.trace)
        self.weather = Weather(self, seed, rollback=parts.rollback)
        self.weather.calm_ended = self._judge_backlog
        self._disks = [Disk() for _ in TILLS]
        self._tills: list[Till | None] = [None] * len(TILLS)
        self._lives: list[list[asyncio.Task[None]]] = [[] for _ in TILLS]
        self._now: Box | None = None
        self._off_s = 0.0
        self._boots = 0
        self._full = False
        self._card_rng = self._rng("card")
        self._ground = folder / "0"
        self._older: Path | None = None
        self._went_down = asyncio.Event()
        self._power: asyncio.Task[None] | None = None
        self._closing = False
        self._opens_epoch = False
        self.counts: Counter[str] = Counter()

    def _rng(self, name: str) -> random.Random:
        return random.Random(f"{self._seed}/{name}")

    # --- what the weather does

    @property
    def box(self) -> Box | None:
        """The box, while tills can reach it."""
        return self._now if self._now is not None and self._now.ready else None

    @property
    def lead_s(self) -> float:
        """How far the box's wall clock is ahead."""
        return self._lead.seconds

    @lead_s.setter
    def lead_s(self, seconds: float) -> None:
        self._lead.seconds = seconds

    def cut_power(self, why: str, off_s: float) -> None:
        """At this very moment; the card is what it was."""
        box = self._now
        if box is None or not box.card.powered:
            return
        self.trace.note("power cut", why)
        self.counts[f"power cut: {why}"] += 1
        self._boots += 1
        self._ground = self._folder / str(self._boots)
        box.card.copy_to(self._ground)
        box.lose_power()
        self.oracle.closed()
        self._off_s = off_s
        self._went_down.set()

    def restart(self) -> None:
        """In good order."""
        if self._now is not None:
            self._now.stop()

    async def kill_till(self, number: int, off_s: float) -> None:
        """It comes back with its disk and nothing else."""
        for task in self._lives[number]:
            task.cancel()
        self._tills[number] = None
        await self._time.sleep(off_s)
        self._start_till(number)

    def fill_card(self, full: bool) -> None:
        """No room for another page, or room again."""
        self._full = full
        if self._now is not None:
            self._now.card.fill() if full else self._now.card.make_room()

    def roll_back(self) -> None:
        """Somebody writes an older copy of the card back. The first time only the copy is made."""
        box = self._now
        if box is None or not box.card.powered:
            return
        if self._older is None:
            self._older = self._folder / "older"
            box.card.copy_to(self._older)
            return
        self.cut_power("rolled back", 30.0)
        shutil.rmtree(self._ground)
        shutil.copytree(self._older, self._ground)
        self.oracle.rolled_back(self._ground / "journal.db")

    # --- life

    async def live(self, days: float) -> None:
        """From the first morning on; returns when all is mended and settled, or a promise is broken."""
        self._power = asyncio.create_task(self._keep_powered(), name="power")
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
        self._closing = True
        if self._now is not None:
            self._now.stop()
        await self._power
        if not self.oracle.broken:
            self.oracle.look_at_all_books(self._ground / "journal.db")

    async def _nights(self) -> None:
        """Two shops in three switch everything off at the fuse box when they close."""
        rng = self._rng("nights")
        if rng.random() < 1 / 3:
            return
        while True:
            closing_s = CLOSES_S + between(rng, 60.0, 1_800.0)
            await self._time.sleep((closing_s - self._time.monotonic()) % DAY_S)
            self.cut_power("night", NIGHT_S)
            await self._time.sleep(NIGHT_S)

    async def _mend(self) -> None:
        await self.weather.mend()
        self._off_s = min(self._off_s, 1.0)
        for number, till in enumerate(self._tills):
            if till is None:
                self._start_till(number)
        until_s = self._time.monotonic() + SETTLE_S
        if self.oracle.was_rolled_back:
            await self._call_technician()
        # Twice in a row: the box's own word that the line is back may follow the last sale by a moment.
        calm = 0
        while self._time.monotonic() < until_s and not self.oracle.broken and calm < 2:
            await self._time.sleep(5.0)
            calm = calm + 1 if self._settled() else 0
            if self.oracle.was_rolled_back:
                for till in self._tills:
                    if till is not None:
                        till.look_again()
        box = self.box
        self.oracle.expect(box is not None, "11", "the box does not come back")
        if box is None:
            return
        stopped = box.drain.stopped
        self.oracle.expect(stopped is None, "2", f"the drain stopped: {stopped!r}")
        self.oracle.look_at_backlog(box.journal.backlog(), SETTLE_S)
        waiting = sum(till.waiting for till in self._tills if till is not None)
        self.oracle.expect(waiting == 0, "2", f"{waiting} sales still wait at tills {SETTLE_S:.0f} s later")
        self.oracle.look_for_all("at the end")

    async def _call_technician(self) -> None:
        """A card that was put back is noticed by head office or head file; a person opens another epoch."""
        for _ in range(60):
            await self._time.sleep(5.0)
            if (box := self.box) is not None and box.drain.found_rollback:
                self._opens_epoch = True
                box.stop()
                await self._time.sleep(2 * RESTART_S)
                return

    def _settled(self) -> bool:
        box = self.box
        tills = all(till is not None and till.waiting == 0 for till in self._tills)
        return tills and box is not None and box.journal.backlog() == 0

    def _judge_now(self) -> None:
        """What must hold at any moment, whatever the weather."""
        self.oracle.look_at_receipts()
        box = self.box
        if box is not None and not self.oracle.was_rolled_back:
            self.oracle.expect(box.drain.stopped is None, "2", f"the drain stopped: {box.drain.stopped!r}")

    def _judge_backlog(self, calm_s: float) -> None:
        box = self.box
        if self.oracle.was_rolled_back:
            return  # the drain waits for a person
        if box is not None and calm_s > DRAIN_S and box.clock.monotonic() > DRAIN_S:
            body = box.journal.oldest_waiting()
            if body is not None:
                self.oracle.look_at_age(body, box)

    async def _keep_powered(self) -> None:
        rng = self._rng("power")
        loop = asyncio.get_running_loop()
        ghosts: set[asyncio.Task[None]] = set()
        self._ground.mkdir()
        while not self._closing:
            self._went_down.clear()
            clock = MachineClock(f"boot-{self._boots}-{round(loop.time())}", self._lead)
            card = self._parts.card(self._ground, self._card_rng, self._cut_when_armed)
            if self._full:
                card.fill()
            if self._opens_epoch:
                await self._open_epoch(clock)
            box = self._now = Box(card, self.line, self._signer, clock, self._rng(clock.boot), self._parts)
            run = asyncio.create_task(box.run(lambda box=box: self._opened(box)), name="box")  # type: ignore[misc]
            down = asyncio.create_task(self._went_down.wait(), name="down")
            await asyncio.wait((run, down), return_when=asyncio.FIRST_COMPLETED)
            down.cancel()
            self.oracle.closed()
            if card.powered:
                self._now = None
                self._judge_end(run)
                await self._time.sleep(RESTART_S)
                continue
            ghosts.add(run)
            run.add_done_callback(ghosts.discard)
            run.add_done_callback(_swallow)
            while self._off_s > 0 and not self._closing:
                step_s = min(self._off_s, 60.0)
                self._off_s -= step_s
                await self._time.sleep(step_s)
            await self._time.sleep(rng.uniform(*BOOT_S))
        if ghosts:
            await asyncio.wait(ghosts)

    async def _open_epoch(self, clock: Clock) -> None:
        self._opens_epoch = False
        sealer = Sealer(box_id(_key.public_key()), self._signer, clock)
        async with open_journal(self._ground / "journal.db", sealer) as journal:
            await open_epoch(journal, HeadFile(self._ground / "head", self._signer), "restored")

    def _judge_end(self, run: asyncio.Task[None]) -> None:
        error = run.exception()
        if error is None:
            return
        self.trace.note("box ended", type(error).__name__)
        self.counts[f"box ended: {type(error).__name__}"] += 1
        if not isinstance(error, CannotAccept):
            self.oracle.fail("11", f"the box ended with {error!r}")

    def _opened(self, box: Box) -> None:
        self.trace.note("box up", box.journal.end.epoch, box.journal.end.seq)
        self.oracle.opened(box)
        for till in self._tills:
            if till is not None:
                till.met(box)

    def _cut_when_armed(self, why: str) -> None:
        if self._now is not None:
            self._now.card.armed = None
        self.cut_power(why, between(self._card_rng, 3.0, 300.0))

    def _told_ack(self) -> None:
        box = self._now
        if box is not None and box.card.armed == "acked":
            self._cut_when_armed("after-ack")

    # --- tills

    def _start_till(self, number: int) -> None:
        rng = self._rng(f"till/{number}/{self._time.monotonic():.3f}")
        till = Till(
            TILLS[number],
            self._disks[number],
            lambda: self.box,
            self.line,
            self.oracle,
            self._time,
            rng,
            self._told_ack,
            two_ways=number == 0,
        )
        self._tills[number] = till
        if (box := self.box) is not None:
            till.met(box)
        self._lives[number] = [
            asyncio.create_task(self._serve(till, rng), name=till.name),
            asyncio.create_task(till.settle(), name=f"{till.name} settles"),
        ]
        for task in self._lives[number]:
            task.add_done_callback(self._till_ended)

    def _till_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.oracle.fail("-", f"{task.get_name()} ended with {error!r}")

    async def _serve(self, till: Till, rng: random.Random) -> None:
        while True:
            await self._time.sleep(rng.expovariate(1 / CUSTOMER_EVERY_S))
            of_day_s = self._time.monotonic() % DAY_S
            if not OPENS_S <= of_day_s < CLOSES_S:
                await self._time.sleep((OPENS_S - of_day_s) % DAY_S)
            await till.serve()

    def outcome(self) -> Outcome:
        """In numbers."""
        faults = self.weather.counts + self.line.counts + self.counts
        return Outcome(
            seed=self._seed,
            virtual_s=self._time.monotonic(),
            sales=sum(disk.tickets for disk in self._disks),
            acked=len(self.oracle.acks),
            events=sum(map(len, self._office.chains.values())),
            checks=self.oracle.checks,
            faults=dict(sorted(faults.items())),
            trace=self.trace.hash,
            broken=self.oracle.broken,
            last=list(self.trace.last) if self.oracle.broken else [],
        )


def _swallow(run: asyncio.Task[None]) -> None:
    if not run.cancelled():
        run.exception()  # what befalls a machine without power is nobody's business


def run_seed(seed: int, days: float, folder: Path, parts: Parts | None = None) -> Outcome:
    """Live one seed in an empty folder (best on tmpfs)."""

    async def main() -> Outcome:
        shop = Shop(seed, folder, parts or Parts())
        try:
            await shop.live(days)
        except Exception as error:  # a bug, here or in the product: it has a seed, and the campaign goes on
            where = traceback.extract_tb(error.__traceback__)[-1]
            shop.oracle.fail("-", f"{error!r} at {Path(where.filename).name}:{where.lineno}")
        return shop.outcome()

    outcome: Outcome = run_virtually(main)
    return outcome


def live(seed: int, days: float) -> Outcome:
    """Live one seed in a folder that is gone afterwards, with the product's logs silenced."""
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(dir=TMPFS if TMPFS.is_dir() else None, prefix="simulate-") as folder:
        return run_seed(seed, days, Path(folder))

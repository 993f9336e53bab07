"""What befalls a shop in a day: each kind of fault comes by itself, at its own rate, and some are aimed.

Aimed faults come where a mistake would hide: the power goes right before a commit, right after it, right after an ack
left, right after a batch was taken. Random ones alone found a planted mistake in none of many days.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable

from appliance.domain.link import Cause
from campaigns.simulation.clock import DAY_S, between
from campaigns.simulation.line import Line
from campaigns.simulation.machine import Machine
from campaigns.simulation.oracle import Trace
from campaigns.simulation.strangers import Strangers

TEN_YEARS_S = 10 * 365.25 * DAY_S
# A group of a few sales packs into less.
BATCH_BYTES_MAX = (2_000, 3_500)
CUTS = (Cause.NO_ANSWER, Cause.NO_ANSWER, Cause.NO_DNS, Cause.NO_LINK, Cause.NO_GATEWAY, Cause.CAPTIVE_PORTAL)


class Weather:
    """Brings faults until `mend`. `counts` tells how many of each kind."""

    def __init__(
        self,
        machine: Machine,
        line: Line,
        trace: Trace,
        kill_till: Callable[[int, float], Awaitable[None]],
        strangers: Strangers,
        rng_of: Callable[[str], random.Random],
        *,
        rollback: bool,
    ) -> None:
        self._machine = machine
        self._line = line
        self._trace = trace
        self._kill_till = kill_till
        self._strangers = strangers
        self._rng_of = rng_of
        self.counts: Counter[str] = Counter()
        self.active: set[str] = set()
        self.calm_since_s = 0.0
        self.calm_ended: Callable[[float], None] = lambda _: None
        self._tasks: list[asyncio.Task[None]] = []
        # Some days are quiet, some are terrible.
        self._force = rng_of("force").choice((0.3, 1.0, 1.0, 2.0, 4.0))
        self._kinds: list[tuple[str, float, Callable[[random.Random], Awaitable[None]]]] = [
            ("outage", 4.0, self._outage),
            ("slow line", 1.0, self._slow),
            ("flapping line", 1.0, self._flapping),
            ("cloud down", 1.5, self._cloud_down),
            ("refused", 0.5, self._refused),
            ("cloud restart", 1.0, self._cloud_restart),
            ("lost answers", 2.0, self._lost_answers),
            ("duplicates", 1.0, self._duplicates),
            ("forged receipts", 0.5, self._forged),
            ("cut bodies", 1.0, self._cut_bodies),
            ("small batches", 1.0, self._small_batches),
            ("new catalogue", 4.0, self._new_catalogue),
            ("power cut", 2.0, self._power_cut),
            ("power cut, aimed", 4.0, self._aimed_cut),
            ("restart", 0.5, self._restart),
            ("clock jump", 1.0, self._clock_jump),
            ("full card", 1.0, self._full_card),
            ("till death", 2.0, self._till_death),
            ("second daemon", 0.5, self._second_daemon),
            ("stranger", 3.0, self._stranger),
            ("odd event", 2.0, self._odd_event),
        ]
        if rollback:
            self._kinds.append(("rolled-back card", 3.0, self._roll_back))

    def begin(self) -> None:
        """From now on things happen."""
        for name, per_day, strike in self._kinds:
            self._tasks.append(asyncio.create_task(self._come(name, per_day, strike), name=name))

    async def mend(self) -> None:
        """Everything is whole again, and stays so."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        for task in self._tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
        line, box = self._line, self._machine.box
        line.cut.clear()
        line.forget_late()
        line.refusal = None
        line.latency_s, line.loss, line.lost_answers, line.duplicates, line.forged = (0.01, 0.08), 0, 0, 0, 0
        line.cut_bodies, line.batch_bytes_max = 0, None
        if box is not None:
            box.card.armed = None
        self._machine.fill_card(False)

    async def _come(
        self, name: str, per_day: float, strike: Callable[[random.Random], Awaitable[None]]
    ) -> None:
        rng = self._rng_of(name)
        while True:
            await asyncio.sleep(rng.expovariate(per_day * self._force / DAY_S))
            if not self.active:
                self.calm_ended(asyncio.get_running_loop().time() - self.calm_since_s)
            self.counts[name] += 1
            self._trace.note("fault", name)
            self.active.add(name)
            await strike(rng)
            self.active.discard(name)
            self.calm_since_s = asyncio.get_running_loop().time()

    async def _outage(self, rng: random.Random) -> None:
        cause = rng.choice(CUTS)
        # Most are short; one in forty lasts longer than a day.
        long = rng.random() < 0.025
        await self._cut_line(cause, 25 * 3_600.0 if long else between(rng, 2.0, 7_200.0))

    async def _cut_line(self, cause: Cause, seconds: float) -> None:
        self._line.cut.append(cause)
        await asyncio.sleep(seconds)
        self._line.cut.remove(cause)

    async def _slow(self, rng: random.Random) -> None:
        line, before = self._line, self._line.latency_s
        line.latency_s = (0.8, rng.uniform(1.0, 4.0))
        await asyncio.sleep(between(rng, 60.0, 1_800.0))
        line.latency_s = before

    async def _flapping(self, rng: random.Random) -> None:
        line = self._line
        line.loss = rng.uniform(0.2, 0.8)
        await asyncio.sleep(between(rng, 30.0, 900.0))
        line.loss = 0.001

    async def _cloud_down(self, rng: random.Random) -> None:
        await self._refuse_with(503, between(rng, 5.0, 1_200.0))

    async def _refused(self, rng: random.Random) -> None:
        await self._refuse_with(rng.choice((401, 403)), between(rng, 20.0, 600.0))

    async def _refuse_with(self, status: int, seconds: float) -> None:
        self._line.refusal = status
        await asyncio.sleep(seconds)
        self._line.refusal = None

    async def _cloud_restart(self, rng: random.Random) -> None:
        await self._cut_line(Cause.CLOUD_DOWN, between(rng, 2.0, 30.0))

    async def _lost_answers(self, rng: random.Random) -> None:
        line = self._line
        line.lost_answers = rng.uniform(0.3, 0.9)
        await asyncio.sleep(between(rng, 10.0, 600.0))
        line.lost_answers = 0.002

    async def _duplicates(self, rng: random.Random) -> None:
        line = self._line
        line.duplicates = 0.5
        await asyncio.sleep(between(rng, 60.0, 3_600.0))
        line.duplicates = 0.005

    async def _forged(self, rng: random.Random) -> None:
        line = self._line
        line.forged = 0.7
        await asyncio.sleep(between(rng, 120.0, 3_600.0))
        line.forged = 0.0

    async def _cut_bodies(self, rng: random.Random) -> None:
        line = self._line
        line.cut_bodies = rng.uniform(0.2, 0.8)
        await asyncio.sleep(between(rng, 600.0, 7_200.0))
        line.cut_bodies = 0.0

    async def _small_batches(self, rng: random.Random) -> None:
        """After an outage the way round takes no large bodies; one commit group always passes."""
        line = self._line
        await self._cut_line(Cause.NO_LINK, between(rng, 600.0, 3_600.0))
        line.batch_bytes_max = rng.randint(*BATCH_BYTES_MAX)
        await asyncio.sleep(between(rng, 600.0, 14_400.0))
        line.batch_bytes_max = None

    async def _new_catalogue(self, rng: random.Random) -> None:
        for _ in range(rng.choice((1, 1, 1, 6))):
            self._line.office.publish(rng)

    async def _power_cut(self, rng: random.Random) -> None:
        await self._be_without_power("random", rng)

    async def _aimed_cut(self, rng: random.Random) -> None:
        """Armed now; the next commit or ack pulls the plug."""
        if (box := self._machine.box) is not None:
            box.card.armed = rng.choice(("before", "after", "acked", "acked", "acked"))

    async def _be_without_power(self, why: str, rng: random.Random) -> None:
        off_s = between(rng, 3.0, 1_800.0)
        self._machine.cut_power(why, off_s)
        await asyncio.sleep(off_s)

    async def _restart(self, _: random.Random) -> None:
        self._machine.restart()

    async def _clock_jump(self, rng: random.Random) -> None:
        jump_s = rng.choice((-1, 1)) * rng.choice((90.0, 3_600.0, DAY_S, TEN_YEARS_S, TEN_YEARS_S))
        self._machine.lead.seconds = jump_s
        await asyncio.sleep(between(rng, 60.0, 20_000.0))
        self._machine.lead.seconds = 0.0

    async def _full_card(self, rng: random.Random) -> None:
        self._machine.fill_card(True)
        await asyncio.sleep(between(rng, 20.0, 1_800.0))
        self._machine.fill_card(False)

    async def _till_death(self, rng: random.Random) -> None:
        await self._kill_till(rng.randrange(3), between(rng, 5.0, 600.0))

    async def _second_daemon(self, _: random.Random) -> None:
        await self._machine.start_second()

    async def _stranger(self, rng: random.Random) -> None:
        if (box := self._machine.box) is not None:
            await self._strangers.visit(box, rng)

    async def _odd_event(self, rng: random.Random) -> None:
        if (box := self._machine.box) is not None:
            await self._strangers.write_oddly(box, rng)

    async def _roll_back(self, _: random.Random) -> None:
        await self._machine.up()  # by night there is nobody to do it
        self._machine.roll_back()

"""One run of the desk: feed the tills, cut and mend the line, kill the box, let everything settle, and judge."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager

import msgspec

from appliance.runtime.clock import Clock
from demo import outages
from demo.books import Reader, read_tickets
from demo.desk import Desk
from demo.hearing import Hearing, read_told
from demo.outages import Operation, Outage
from demo.places import TILLS, Places
from demo.processes import ChildFailed
from demo.tally import Tally, judge
from demo.watch import Watch
from demo.weather import Due, Gust
from till.script import Step

# Discovery takes a second or two; a till that has not found the box by then starts selling all the same.
MEET_S = 15.0
# How long the backlog may take to reach head office once selling has ended.
SETTLE_S = 60.0
LOOK_S = 0.2
# What `s` makes of the line: a phone in a cellar.
SLOW_LATENCY_S, SLOW_BYTES_PER_S = 0.7, 16_000.0


class Plan(msgspec.Struct, frozen=True):
    """What shall happen and when, in seconds since selling began. Without an end it goes on until it is stopped."""

    for_s: float | None
    outages: list[Outage]
    kills_s: list[float]
    weather: Iterable[Due] = ()


def kill_times(count: int, for_s: float, rng: random.Random) -> list[float]:
    """Moments to kill the box: one in each of `count` equal parts of the run, not at its edges."""
    part_s = for_s / count if count else 0.0
    return [(number + rng.uniform(0.2, 0.8)) * part_s for number in range(count)]


class Controls:
    """What a person, or the plan, does to the desk; remembers the cuts for the tally."""

    def __init__(self, desk: Desk, hearing: Hearing, clock: Clock) -> None:
        self._desk = desk
        self._hearing = hearing
        self._clock = clock
        self._outages: list[Outage] = []
        self._gusts: list[Outage] = []
        self._blowing: asyncio.Task[None] | None = None
        self._killing: asyncio.Task[None] | None = None
        self.gust: Gust | None = None
        self.kills_s: list[float] = []

    @property
    def outages(self) -> list[Outage]:
        """Every cut so far; the last one may still last."""
        return list(self._outages)

    @property
    def gusts(self) -> list[Outage]:
        """From when to when it was stormy; the last gust may still blow."""
        return list(self._gusts)

    @property
    def gusts_so_far(self) -> int:
        """How many gusts there were."""
        return len(self._gusts)

    @property
    def cut_since_s(self) -> float | None:
        """When the present cut began, if there is one."""
        return self._outages[-1].cut_s if self._desk.line.condition.cut else None

    def cut(self) -> None:
        """Cut the line; nothing happens when it is cut already."""
        if not self._desk.line.condition.cut:
            self._desk.line.cut()
            self._outages.append(Outage(self._hearing.now_s))
            self._hearing.note("line", "is cut", "bold red")

    async def mend(self) -> None:
        """Mend the line, and let it be calm and fast again."""
        if self._blowing is not None and not self._blowing.done():
            self._blowing.cancel()
            await asyncio.wait([self._blowing])
        if self._desk.line.condition.slow:
            self._desk.line.slow(0.0, None)
            self._hearing.note("line", "is fast again", "bold green")
        if self._desk.line.condition.cut:
            await self._desk.line.mend()
            self._outages[-1] = Outage(self._outages[-1].cut_s, self._hearing.now_s)
            self._hearing.note("line", "is mended", "bold green")

    def slow(self) -> None:
        """Make the line slow."""
        self._desk.line.slow(SLOW_LATENCY_S, SLOW_BYTES_PER_S)
        self._hearing.note("line", f"is slow: {SLOW_LATENCY_S:g} s each way", "bold yellow")

    def begin_gust(self, gust: Gust) -> None:
        """Let it blow, and end by itself; nothing happens while another gust blows."""
        if self.gust is None:
            self.gust = gust
            self._blowing = asyncio.create_task(self._blow(gust), name="gust")

    async def _blow(self, gust: Gust) -> None:
        line = self._desk.line
        self._gusts.append(Outage(self._hearing.now_s))
        self._hearing.note("line", f"{gust.words} for {gust.lasts_s:.1f} s", "bold magenta")
        for fault in gust.faults:
            line.inflict(fault)
        try:
            await self._clock.sleep(gust.lasts_s)
        finally:
            await line.relieve()
            self._gusts[-1] = Outage(self._gusts[-1].cut_s, self._hearing.now_s)
            self.gust = None
            self._hearing.note("line", "is calm again", "green")

    def begin_kill(self) -> None:
        """Kill the box and start it again; nothing more when that is under way already."""
        if self._killing is None or self._killing.done():
            self._killing = asyncio.create_task(self._kill_box(), name="kill-box")

    async def _kill_box(self) -> None:
        self.kills_s.append(self._hearing.now_s)
        self._hearing.note("box", "is killed (SIGKILL) and started again", "bold red")
        try:
            await self._desk.kill_box()
        except ChildFailed as error:
            self._hearing.note("box", f"does not start: {error}", "bold red")
        else:
            self._hearing.note("box", f"is back after kill {self._desk.kills}", "green")

    async def at_rest(self) -> None:
        """Wait until no restart of the box is under way; one that has begun is not given up half-way."""
        if self._killing is not None:
            await asyncio.shield(self._killing)


async def sell(
    desk: Desk,
    hearing: Hearing,
    controls: Controls,
    plan: Plan,
    scripts: Mapping[str, Iterable[Step]],
    stop: asyncio.Event,
    clock: Clock,
) -> None:
    """Start the tills, and let the plan happen until its end, the scripts' end, or `stop`."""
    for till in TILLS:
        await desk.start_till(till, lambda said, till=till: hearing.hear(till, said))  # type: ignore[misc]
    await _until(lambda: all(view.box for view in hearing.tills.values()), MEET_S, stop, clock)
    hearing.begin()
    feeds = [
        _feed(desk, till, _until_end(steps, plan.for_s), hearing, clock) for till, steps in scripts.items()
    ]
    happening = [
        _cut_and_mend(plan, controls, hearing, clock),
        _kill(plan, controls, hearing, clock),
        _storm(plan, controls, hearing, clock),
    ]
    async with running(*happening), running(*feeds) as fed:
        over = asyncio.create_task(_over(fed, plan.for_s, clock), name="over")
        stopped = asyncio.create_task(stop.wait(), name="stopped")
        await asyncio.wait([over, stopped], return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        stopped.cancel()


async def settle(
    desk: Desk, hearing: Hearing, controls: Controls, watch: Watch, leave: asyncio.Event, clock: Clock
) -> bool:
    """Mend the line, let the tills end and the box drain; whether all did within a minute and before `leave`."""
    await controls.at_rest()
    await controls.mend()
    for child in desk.tills.values():
        child.end_input()
    hearing.note("desk", "selling has ended; waiting until head office has everything")

    def done() -> bool:
        return not any(child.running for child in desk.tills.values()) and watch.drained

    settled = await _until(done, SETTLE_S, leave, clock)
    await asyncio.gather(*(child.stop() for child in desk.tills.values()))
    return settled


async def tally(
    places: Places, office: Reader, hearing: Hearing, controls: Controls, sold_until_s: float
) -> Tally:
    """Read all the evidence, and judge it. Raises Unread."""
    books = await office.books()
    tickets = await asyncio.to_thread(read_tickets, [(till, places.till(till)) for till in TILLS])
    told = await asyncio.to_thread(read_told, places.logs, TILLS)
    # An online-only operation that hid in a sale passed when the sale was accepted.
    hidden = [
        Operation(hearing.accepted_at_s[ticket.sale_id], ticket.till_id, passed=True)
        for ticket in tickets
        if ticket.hides_operation and ticket.sale_id in hearing.accepted_at_s
    ]
    asked = [*hearing.operations, *hidden]
    operations = outages.by_phase(
        asked,
        controls.outages,
        hearing.proposals,
        TILLS,
        box_starts_s=[0.0, *controls.kills_s],
        gusts=controls.gusts,
    )
    edges = outages.edges(
        controls.outages,
        hearing.proposals,
        TILLS,
        until_s=sold_until_s,
        box_starts_s=controls.kills_s,
        gusts=controls.gusts,
    )
    return judge(tickets, told, books, operations, edges)


@asynccontextmanager
async def running(*work: Coroutine[None, None, None]) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Run these while inside; a bug in one ends the block."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in work]
        yield tasks
        for task in tasks:
            task.cancel()


async def _feed(desk: Desk, till: str, steps: Iterable[Step], hearing: Hearing, clock: Clock) -> None:
    """Hand a till its steps when they are due, so that it can be stopped between two of them."""
    for step in steps:
        if (wait_s := step.after_s - hearing.now_s) > 0:
            await clock.sleep(wait_s)
        line = msgspec.json.encode(msgspec.structs.replace(step, after_s=0.0)) + b"\n"
        if not await desk.tills[till].write(line):
            hearing.note(till, "has ended before its script", "bold red")
            return


def _until_end(steps: Iterable[Step], for_s: float | None) -> Iterator[Step]:
    for step in steps:
        if for_s is not None and step.after_s > for_s:
            return
        yield step


async def _over(fed: Iterable[asyncio.Task[None]], for_s: float | None, clock: Clock) -> None:
    if for_s is not None:
        await clock.sleep(for_s)
    await asyncio.wait(fed)


async def _cut_and_mend(plan: Plan, controls: Controls, hearing: Hearing, clock: Clock) -> None:
    for outage in plan.outages:
        await clock.sleep(outage.cut_s - hearing.now_s)
        controls.cut()
        await clock.sleep(outage.mended_s - hearing.now_s)
        await controls.mend()


async def _kill(plan: Plan, controls: Controls, hearing: Hearing, clock: Clock) -> None:
    for at_s in plan.kills_s:
        await clock.sleep(at_s - hearing.now_s)
        controls.begin_kill()
        await controls.at_rest()


async def _storm(plan: Plan, controls: Controls, hearing: Hearing, clock: Clock) -> None:
    for due in plan.weather:
        await clock.sleep(due.at_s - hearing.now_s)
        controls.begin_gust(due.gust)


async def _until(condition: Callable[[], bool], within_s: float, sooner: asyncio.Event, clock: Clock) -> bool:
    """Wait for a condition; False when it did not hold in time, or before `sooner` was set."""
    until_s = clock.monotonic() + within_s
    while not condition():
        if sooner.is_set() or clock.monotonic() > until_s:
            return False
        await clock.sleep(LOOK_S)
    return True

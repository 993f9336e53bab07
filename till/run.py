"""Run a till: a whole script, until everything is in the cloud, or a single ticket."""

import asyncio
import random
import sys

from appliance.runtime.clock import Clock
from appliance.runtime.supervision import supervised
from till.copy import State
from till.options import Options
from till.pace import unless
from till.report import Done, Sold, Started, Totals, to_stdout
from till.script import LineReader, Player
from till.tickets import Basket
from till.wiring import OpenTill, open_till

# How long the first ticket waits for the box to be found: one search, and its answers.
FIRST_TRY_S = 6.0


async def run_script(
    options: Options, descriptor: int, stop: asyncio.Event, clock: Clock, rng: random.Random, *, report: bool
) -> bool:
    """Play the script on this file descriptor, then go on until every copy is in the cloud, or `stop` is set.

    The ticket in hand is finished either way. Returns whether nothing is left unsent, refused or unread.
    """
    totals = Totals(to_stdout)
    async with open_till(options, totals, clock, rng) as till:
        counts = await till.copies.counts()
        waiting = counts.get("pending", 0) + counts.get("accepted", 0)
        totals(Started(options.till_id, options.cloud_url is not None, waiting))
        async with supervised(till.services, clock, rng):
            await unless(stop, _first_news(till, clock))
            player = Player(till.selling, till.operations, totals, clock)
            await player.play(LineReader(descriptor).lines(), stop)
            await unless(stop, till.settling.all_synced())
        done = totals.done(await till.copies.counts(), till.ways.mode)
    to_stdout(done)
    if report:
        sys.stderr.write(_in_words(options, done))
    return done.lines_unreadable == 0 and nothing_open(done.copies)


async def sell_once(
    options: Options, basket: Basket, stop: asyncio.Event, clock: Clock, rng: random.Random
) -> bool:
    """Sell one basket. Returns whether the box or the cloud has it."""
    async with (
        open_till(options, to_stdout, clock, rng) as till,
        supervised(till.services, clock, rng),
    ):
        await unless(stop, _first_news(till, clock))
        line = await till.selling.sell(basket)
    return isinstance(line, Sold) and line.status in ("accepted", "synced")


def nothing_open(counts: dict[str, int]) -> bool:
    """Whether no copy is unsent or refused; one that is on a box's disk is safe, and one withdrawn was no ticket."""
    unsent: tuple[State, ...] = ("pending", "refused")
    return not any(counts.get(state) for state in unsent)


async def _first_news(till: OpenTill, clock: Clock) -> None:
    """Wait for the box's first word, but not long: the first ticket should know its way, and must not need it."""
    waited = asyncio.Event()

    async def enough() -> None:
        await clock.sleep(FIRST_TRY_S)
        waited.set()

    patience = asyncio.create_task(enough(), name="patience")
    try:
        await unless(waited, _met(till))
    finally:
        patience.cancel()


async def _met(till: OpenTill) -> None:
    await till.lookout.first_try.wait()


def _in_words(options: Options, done: Done) -> str:
    copies = ", ".join(f"{count} {state}" for state, count in sorted(done.copies.items())) or "none"
    return (
        f"till {options.till_id}: {done.tickets} tickets ({done.by_cloud} by cloud, {done.by_box} by box, "
        f"{done.kept} kept), {done.sales_refused} refused; operations: {done.operations_passed} passed, "
        f"{done.operations_refused} refused; {done.mode_changes} changes of mode, now {done.mode}; copies: {copies}\n"
    )

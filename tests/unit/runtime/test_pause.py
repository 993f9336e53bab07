"""Sleeping, unless something calls."""

import asyncio

from appliance.runtime.pause import pause
from tests.fakes.clock import FakeClock


async def test_a_pause_lasts_as_long_as_asked_when_nobody_calls() -> None:
    clock = FakeClock()
    began_s = clock.monotonic()

    await clock.run_until(asyncio.create_task(pause(clock, 5.0, asyncio.Event())))

    assert clock.monotonic() - began_s == 5.0


async def test_a_call_ends_the_pause_once() -> None:
    clock, sooner = FakeClock(), asyncio.Event()
    first = asyncio.create_task(pause(clock, 5.0, sooner))
    await clock.advance(1.0)

    sooner.set()
    await first
    second = asyncio.create_task(pause(clock, 5.0, sooner))
    await clock.advance(4.9)

    assert not second.done()
    await clock.advance(0.1)
    assert second.done()


async def test_a_cancelled_pause_leaves_no_sleeper_behind() -> None:
    clock = FakeClock()
    task = asyncio.create_task(pause(clock, 5.0, asyncio.Event()))
    await clock.settle()

    task.cancel()
    await clock.settle()

    assert clock.sleeping == 0

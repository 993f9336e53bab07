"""Whatever the wall clock does, order, the drain's waits and the knowing of sales stay as they are."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from appliance.domain.link import Cause
from appliance.services.clockwatch import LOOK_EVERY_S, STEP_S, ClockWatch
from tests.fakes.clock import FakeClock
from tests.fakes.journals import a_draft, a_journal
from tests.fakes.notes import Notes
from tests.fakes.sales import a_sale
from tests.integration.drain.world import a_world, draining

TEN_YEARS = timedelta(days=3_652)
either_way = pytest.mark.parametrize("step", [TEN_YEARS, -TEN_YEARS], ids=["ahead", "back"])


@either_way
async def test_ten_years_change_neither_order_nor_what_is_known(tmp_path: Path, step: timedelta) -> None:
    clock, first, second = FakeClock(), a_sale(), a_sale(ticket_number=2)
    async with a_journal(tmp_path, clock) as journal:
        one = await journal.append(a_draft(first))
        clock.jump_wall(step)
        two = await journal.append(a_draft(second))

        assert two.position.seq == one.position.seq + 1
        assert await journal.append(a_draft(first)) == one._replace(known=True)
    async with a_journal(tmp_path, clock) as journal:
        assert await journal.append(a_draft(second)) == two._replace(known=True)


@either_way
async def test_ten_years_make_the_drain_neither_wait_nor_hurry(tmp_path: Path, step: timedelta) -> None:
    async def tries_in_an_hour(folder: Path, jump: Callable[[FakeClock], None]) -> int:
        await asyncio.to_thread(folder.mkdir)
        async with a_world(folder) as world:
            await world.come_online()
            # Nobody hears of the failures, so the line stays up and only the back-off decides.
            world.cloud.observe = lambda cause, took_s, bulk: None
            world.cloud.cut(Cause.CLOUD_DOWN)
            async with draining(world):
                await world.clock.advance(60)
                jump(world.clock)
                await world.clock.advance(3_540)
                tried = world.cloud.calls.count("send_batch")
                world.cloud.mend()
                await world.clock.run_until(lambda: world.journal.backlog() == 0, within_s=120)
                assert world.stored() == list(range(1, world.journal.end.seq + 1))
                return tried

    still = await tries_in_an_hour(tmp_path / "still", lambda _: None)
    jumped = await tries_in_an_hour(tmp_path / "jumped", lambda clock: clock.jump_wall(step))

    assert jumped == still > 50


@either_way
async def test_a_step_is_recorded_once(step: timedelta) -> None:
    clock, notes = FakeClock(), Notes()
    watch = ClockWatch(clock, notes)
    clock.jump_wall(step)

    await watch.look()
    await watch.look()

    [(kind, data)] = notes.written
    assert kind == "clock_stepped"
    assert data["by_s"] == step.total_seconds()


async def test_time_that_passes_is_no_step() -> None:
    clock, notes = FakeClock(), Notes()
    watch = ClockWatch(clock, notes)
    for _ in range(100):
        await clock.advance(LOOK_EVERY_S)
        clock.jump_wall(timedelta(seconds=STEP_S))  # as far as it may go in one look
        await watch.look()

    assert notes.written == []

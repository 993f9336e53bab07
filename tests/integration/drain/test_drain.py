"""The drain brings every event to the cloud once, in order, whatever the line does in between."""

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest

from appliance.domain.errors import CloudRefused
from appliance.domain.link import Cause
from appliance.services.drain import HOLD_S
from tests.fakes.journals import a_draft, a_note
from tests.fakes.sales import a_sale
from tests.integration.drain.world import a_world, draining, fill


async def test_everything_waiting_is_delivered_and_settled(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await world.come_online()
        for number in range(5):
            await world.journal.append(a_note(number))
        async with draining(world):
            await world.clock.run_until(lambda: world.journal.backlog() == 0, within_s=5)

        assert world.stored() == list(range(1, 7))


async def test_an_event_appended_later_is_sent_at_once(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, draining(world):
        await world.come_online()
        await world.clock.run_until(lambda: world.journal.backlog() == 0, within_s=5)
        began_s = world.clock.monotonic()

        await world.journal.append(a_draft(a_sale()))
        await world.clock.run_until(lambda: world.journal.backlog() == 0, within_s=5)

        assert world.clock.monotonic() - began_s < 0.5


async def test_nothing_is_sent_while_offline_and_all_of_it_after(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, draining(world):
        for number in range(30):
            await world.journal.append(a_note(number))
        await world.clock.advance(3_600)
        assert world.cloud.calls == []

        await world.come_online()
        await world.clock.run_until(lambda: world.journal.backlog() == 0, within_s=5)
        assert world.stored() == list(range(1, 32))


async def test_a_lost_answer_doubles_nothing(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await world.come_online()
        await world.journal.append(a_note(1))
        world.cloud.lose_answers = 2

        async with draining(world):
            await world.clock.run_until(lambda: world.journal.backlog() == 0, within_s=600)

        assert world.stored() == [1, 2]
        assert world.cloud.calls.count("send_batch") == 3


async def test_it_never_gives_up(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await world.come_online()
        world.cloud.cut(Cause.CLOUD_DOWN)
        async with draining(world):
            for _ in range(300):
                await world.clock.advance(8_640)
                world.wan.observe(Cause.OK, 0.02)  # the line flickers: each time the drain tries again
            assert world.journal.backlog() == 1

            world.cloud.mend()
            await world.come_online()
            await world.clock.run_until(lambda: world.journal.backlog() == 0, within_s=120)


async def test_waits_between_tries_grow_and_never_pass_the_cap(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await world.come_online()
        # Every second request succeeds, so the line stays up and only the back-off decides.
        world.cloud.line = lambda: Cause.CLOUD_DOWN if world.cloud.calls[-1] == "send_batch" else Cause.OK
        starts: list[float] = []
        world.cloud.observe = lambda cause, took_s, bulk: starts.append(world.clock.monotonic())
        async with draining(world):
            await world.clock.advance(1_200)

        gaps = [later - earlier for earlier, later in pairwise(starts)]
        assert max(gaps) <= 61
        assert max(gaps[8:]) > 10


@pytest.mark.parametrize("code", ["fork", "gap"])
async def test_a_broken_chain_stops_the_drain_loudly_and_drops_nothing(tmp_path: Path, code: str) -> None:
    async with a_world(tmp_path) as world, draining(world):
        world.cloud.refusal = CloudRefused("the chain", status=409, problem=code)
        await world.come_online()
        await world.clock.run_until(lambda: world.drain.stopped is not None, within_s=60)
        assert world.drain.stopped is not None
        assert world.drain.stopped.code == code

        world.cloud.refusal = None
        await world.journal.append(a_draft(a_sale()))
        await world.clock.advance(3_600)
        assert world.cloud.calls.count("send_batch") == 1
        assert world.journal.backlog() == world.journal.end.seq == 3  # opening, drain_stopped, the sale


async def test_an_unknown_identity_is_held_and_asked_again(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await world.come_online()
        world.cloud.refusal = CloudRefused("who are you", status=401, problem="unauthenticated")
        async with draining(world):
            await world.clock.advance(HOLD_S / 2)
            assert world.cloud.calls.count("send_batch") == 1

            world.cloud.refusal = None
            await world.clock.run_until(lambda: world.journal.backlog() == 0, within_s=2 * HOLD_S)


async def test_a_stop_in_the_middle_leaves_nothing_behind(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await world.come_online()
        await fill(world, 2_000)
        before = len(asyncio.all_tasks())
        step = asyncio.ensure_future(world.drain.step())
        await world.clock.run_until(lambda: "send_batch" in world.cloud.calls)
        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await step

        assert len(asyncio.all_tasks()) == before
        assert world.journal.synced() == {}

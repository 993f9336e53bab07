"""The watch of the line, on a clock that the test holds: how soon a cut and a mending are noticed, and by whom."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from appliance.domain.errors import CloudRefused
from appliance.domain.link import Cause, Link, LinkState
from appliance.services.wan import WanWatch
from tests.fakes.clock import FakeClock
from tests.fakes.cloud import FakeCloud
from tests.fakes.tasks import running_task


class Shop:
    """A watch, the line it watches, and every change it told, with the time."""

    def __init__(self, seed: int = 1) -> None:
        self.clock = FakeClock()
        self.wan = WanWatch(self.clock, random.Random(seed))
        self.cloud = FakeCloud(self.clock, observe=self.wan.observe)
        self.told: list[tuple[float, Link]] = []
        self.wan.listen(lambda link: self.told.append((self.clock.monotonic(), link)))

    @property
    def mode(self) -> str:
        return self.wan.link.mode

    def flips(self) -> list[float]:
        """When the mode changed."""
        modes = [(at_s, link.mode) for at_s, link in self.told]
        return [
            at_s
            for (_, before), (at_s, mode) in zip([(0.0, "local"), *modes], modes, strict=False)
            if mode != before
        ]

    async def took_s(self, mode: str) -> float:
        """Let time pass until the mode is this; how long it took."""
        began_s = self.clock.monotonic()
        await self.clock.run_until(lambda: self.mode == mode, within_s=600.0)
        return self.clock.monotonic() - began_s


@asynccontextmanager
async def watched(seed: int = 1) -> AsyncIterator[Shop]:
    """A shop whose watch runs while inside."""
    shop = Shop(seed)
    async with running_task(shop.wan.run(shop.cloud.probe)):
        yield shop


async def test_a_box_that_starts_on_a_good_line_is_online_after_the_proof() -> None:
    async with watched() as shop:
        assert await shop.took_s("cloud") == pytest.approx(5.1, abs=0.1)

        assert [link.cause for _, link in shop.told] == [Cause.PROVING, Cause.OK]


@pytest.mark.parametrize("seed", range(20))
async def test_a_black_hole_on_an_idle_line_is_noticed_within_fifteen_seconds(seed: int) -> None:
    async with watched(seed) as shop:
        await shop.took_s("cloud")
        await shop.clock.advance(random.Random(seed).uniform(60.0, 70.0))

        shop.cloud.cut(Cause.NO_ANSWER)

        assert await shop.took_s("local") <= 13.6


@pytest.mark.parametrize("seed", range(20))
async def test_a_mended_line_is_proposed_within_twelve_seconds(seed: int) -> None:
    async with watched(seed) as shop:
        await shop.took_s("cloud")
        shop.cloud.cut(Cause.NO_ANSWER)
        await shop.took_s("local")
        await shop.clock.advance(random.Random(seed).uniform(600.0, 610.0))

        shop.cloud.mend()

        assert await shop.took_s("cloud") <= 12.0


async def test_a_refusing_line_is_noticed_as_soon_as_a_request_meets_it() -> None:
    async with watched() as shop:
        await shop.took_s("cloud")
        await shop.clock.advance(62.0)
        shop.cloud.cut(Cause.CLOUD_DOWN)

        shop.wan.observe(Cause.CLOUD_DOWN, 0.01)

        assert await shop.took_s("local") == pytest.approx(1.5, abs=0.1)
        assert shop.wan.link.cause is Cause.CLOUD_DOWN


async def test_one_lost_probe_changes_nothing_and_is_retried_at_once() -> None:
    async with watched() as shop:
        await shop.took_s("cloud")
        answers = iter([Cause.NO_DNS])
        shop.cloud.line = lambda: next(answers, Cause.OK)
        probes = len(shop.cloud.calls)

        await shop.clock.run_until(lambda: len(shop.cloud.calls) == probes + 2)
        await shop.clock.advance(60.0)

        assert shop.mode == "cloud"
        assert shop.wan.link.online


async def test_real_requests_put_probes_off_while_the_line_is_up() -> None:
    async with watched() as shop:
        await shop.took_s("cloud")
        probes = len(shop.cloud.calls)

        for _ in range(60):
            await shop.clock.advance(1.0)
            shop.wan.observe(Cause.OK, 0.1)

        assert len(shop.cloud.calls) == probes


async def test_an_idle_line_is_probed_every_five_seconds_or_so() -> None:
    async with watched() as shop:
        await shop.took_s("cloud")
        probes = len(shop.cloud.calls)

        await shop.clock.advance(600.0)

        assert 100 <= len(shop.cloud.calls) - probes <= 150


async def test_a_probe_counts_as_one_sample() -> None:
    shop = Shop()
    shop.cloud.cut(Cause.NO_DNS)

    step = asyncio.create_task(shop.wan.step(shop.cloud.probe))
    await shop.clock.run_until(step)

    assert shop.wan.link.failures == 1


async def test_callers_at_the_same_time_share_one_probe() -> None:
    shop = Shop()

    steps = [asyncio.create_task(shop.wan.step(shop.cloud.probe)) for _ in range(5)]
    await shop.clock.run_until(asyncio.gather(*steps))

    assert shop.cloud.calls == ["probe"]


async def test_a_caller_that_gives_up_leaves_the_others_a_probe_of_their_own() -> None:
    shop = Shop()
    first = asyncio.create_task(shop.wan.step(shop.cloud.probe))
    second = asyncio.create_task(shop.wan.step(shop.cloud.probe))
    await shop.clock.settle()

    first.cancel()
    await shop.clock.run_until(second)

    assert shop.wan.link.half_open


async def test_a_cloud_that_refuses_does_not_stop_the_watch() -> None:
    shop = Shop()
    shop.cloud.refusal = CloudRefused("who are you?", status=403, problem="not-allowed")

    step = asyncio.create_task(shop.wan.step(shop.cloud.probe))
    await shop.clock.run_until(step)

    assert step.exception() is None
    assert shop.wan.link.cause is Cause.REFUSED


async def test_a_change_is_heard_by_whoever_waits_and_by_whoever_listens() -> None:
    shop = Shop()
    waiting = asyncio.create_task(shop.wan.changed())
    await shop.clock.settle()

    shop.wan.observe(Cause.OK, 0.1)
    shop.wan.observe(Cause.OK, 0.1)

    assert [link.cause for _, link in shop.told] == [Cause.PROVING]
    assert (await waiting).half_open


async def test_a_late_failure_of_an_old_request_is_not_told() -> None:
    shop = Shop()
    await shop.clock.advance(10.0)
    shop.wan.observe(Cause.OK, 0.1)

    await shop.clock.advance(1.0)
    shop.wan.observe(Cause.NO_ANSWER, 10.0)

    assert shop.wan.link.half_open
    assert len(shop.told) == 1


async def test_the_mode_view_tells_when_it_changed_by_the_wall_clock() -> None:
    shop = Shop()
    await shop.clock.advance(7.25)

    shop.wan.observe(Cause.NO_LINK, 0.0)
    view = shop.wan.mode_view()
    await shop.clock.advance(60.0)

    assert (view.mode, view.link, view.cause) == ("local", "offline", "no-link")
    assert view.changed_at == "2026-11-22T08:30:07.250Z"
    assert shop.wan.mode_view() == view


async def test_while_slow_the_line_is_probed_although_requests_succeed() -> None:
    async with watched() as shop:
        await shop.took_s("cloud")
        shop.cloud.latency_s = 1.4
        await shop.clock.run_until(lambda: shop.wan.link.cause is Cause.SLOW, within_s=60.0)
        shop.cloud.latency_s = 0.02

        for _ in range(90):
            shop.wan.observe(Cause.OK, 4.0, bulk=True)
            await shop.clock.advance(1.0)

        assert shop.wan.link.online
        assert shop.flips() == shop.flips()[:1]


@pytest.mark.parametrize("cause", [Cause.NO_ANSWER, Cause.CLOUD_DOWN])
@pytest.mark.parametrize("seed", range(10))
async def test_a_line_that_flaps_does_not_flip_the_mode_more_than_once_a_minute(
    seed: int, cause: Cause
) -> None:
    async with watched(seed) as shop:
        await shop.took_s("cloud")
        await shop.clock.advance(120.0)
        began = len(shop.flips())

        shop.cloud.flap(random.Random(seed), 1 / 3, cause)
        await shop.clock.advance(1_800.0)

        assert len(shop.flips()) - began <= 30


async def test_a_line_that_flapped_comes_back_once_it_is_well() -> None:
    async with watched() as shop:
        await shop.took_s("cloud")
        shop.cloud.flap(random.Random(3), 1 / 3)
        await shop.clock.advance(600.0)
        shop.cloud.mend()

        await shop.clock.advance(135.0)

        assert shop.wan.link.state is LinkState.ONLINE

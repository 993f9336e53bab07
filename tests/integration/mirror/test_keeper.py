"""The loop that keeps the mirror fresh, on a clock that passes only when told."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from appliance.domain.errors import CloudUnreachable, Malformed, NotReady
from appliance.domain.event import ClockQuality
from appliance.domain.wire import CatalogueView
from appliance.services.feed import Feed
from appliance.services.mirror import AGE_UNKNOWN_S, MirrorKeeper
from appliance.storage.mirror import Mirror, open_mirror
from tests.fakes.catalogue import an_article
from tests.fakes.clock import FakeClock
from tests.fakes.cloud import FakeCloud
from tests.fakes.notes import Notes

POLL_S = 600.0


class HeadOffice(FakeCloud):
    """May also send damaged catalogues, and remembers what it was asked for."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.damage = 0
        self.asked: list[int | None] = []

    async def fetch_catalogue(self, since: int | None, into: Path) -> None:
        self.asked.append(since)
        await super().fetch_catalogue(since, into)
        body = await asyncio.to_thread(into.read_bytes)
        await asyncio.to_thread(into.write_bytes, body[: len(body) - self.damage])


class Shop(NamedTuple):
    """A keeper and all it touches."""

    keeper: MirrorKeeper
    mirror: Mirror
    cloud: HeadOffice
    feed: Feed
    notes: Notes
    clock: FakeClock

    async def step(self) -> None:
        """One step, and the time that it takes."""
        task = asyncio.create_task(self.keeper.step())
        await self.clock.run_until(task)
        await task

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.keeper.run())
        try:
            yield
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with a_shop(tmp_path) as opened:
        yield opened


@asynccontextmanager
async def a_shop(folder: Path, clock: FakeClock | None = None) -> AsyncIterator[Shop]:
    clock = clock or FakeClock()
    cloud, feed, notes = HeadOffice(clock), Feed(), Notes()
    async with open_mirror(folder / "mirror.db") as mirror:
        keeper = MirrorKeeper(
            mirror, cloud, feed, notes, clock, random.Random(1), folder / "incoming.zst", lambda: POLL_S
        )
        yield Shop(keeper, mirror, cloud, feed, notes, clock)


async def test_a_first_catalogue_is_fetched_applied_told_and_recorded(shop: Shop, tmp_path: Path) -> None:
    shop.cloud.publish([an_article(1), an_article(2)])

    await shop.step()

    assert (shop.mirror.version, shop.mirror.count) == (1, 2)
    with shop.feed.subscribe() as subscription:
        assert await subscription.next() == ("catalogue", CatalogueView(1))
    ((kind, data),) = shop.notes.written
    assert kind == "catalogue_applied"
    assert data == {
        "version": 1,
        "since": None,
        "articles": 2,
        "changed": 2,
        "digest": shop.mirror.state.digest,
    }
    assert not (tmp_path / "incoming.zst").exists()


async def test_then_only_changes_are_fetched(shop: Shop) -> None:
    shop.cloud.publish([an_article(1)])
    await shop.step()
    shop.cloud.publish([an_article(1, deleted=True), an_article(2)])

    await shop.step()
    await shop.step()

    assert shop.cloud.asked == [None, 1, 2]
    assert [data["since"] for _, data in shop.notes.written] == [None, 1]
    assert shop.mirror.count == 1


async def test_a_version_that_the_cloud_no_longer_knows_is_replaced_by_a_snapshot(shop: Shop) -> None:
    shop.cloud.publish([an_article(1)])
    await shop.step()
    shop.cloud.publish([an_article(2)])
    shop.cloud.oldest_version = 2

    await shop.step()

    assert shop.cloud.asked == [None, 1, None]
    assert (shop.mirror.version, shop.mirror.count) == (2, 2)


async def test_a_nudge_fetches_at_once_and_the_poll_does_without(shop: Shop) -> None:
    shop.cloud.publish([an_article(1)])
    async with shop.running():
        await shop.clock.run_until(lambda: shop.mirror.version == 1)
        shop.cloud.publish([an_article(2)])
        shop.keeper.nudge(2)
        await shop.clock.run_until(lambda: shop.mirror.version == 2, within_s=1.0)

        shop.cloud.publish([an_article(3)])
        await shop.clock.run_until(lambda: shop.mirror.version == 3, within_s=POLL_S + 1.0)


async def test_a_nudge_without_news_asks_nothing_and_confirms(shop: Shop) -> None:
    shop.cloud.publish([an_article(1)])
    async with shop.running():
        await shop.clock.run_until(lambda: shop.mirror.version == 1)
        await shop.clock.advance(60.0)
        assert shop.keeper.age_s >= 60.0

        shop.keeper.nudge(1)
        await shop.clock.settle()

        assert (shop.keeper.age_s, shop.cloud.asked) == (0.0, [None])


async def test_a_dead_line_is_logged_once_an_hour_and_mends_by_itself(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    shop.cloud.publish([an_article(1)])
    shop.cloud.cut()
    async with shop.running():
        await shop.clock.advance(3 * 3_600.0)
        assert 10 < len(shop.cloud.asked) < 40
        assert 3 <= len([r for r in caplog.records if r.message == "catalogue.not_refreshed"]) <= 4

        shop.cloud.mend()
        await shop.clock.run_until(lambda: shop.mirror.version == 1, within_s=POLL_S + 30.0)


async def test_a_damaged_catalogue_changes_nothing_and_is_not_fetched_all_the_time(shop: Shop) -> None:
    shop.cloud.publish([an_article(1)])
    await shop.step()
    shop.cloud.publish(map(an_article, range(2, 500)))
    shop.cloud.damage = 20
    with pytest.raises(Malformed):
        await shop.step()
    assert (shop.mirror.version, shop.mirror.count) == (1, 1)

    async with shop.running():
        for _ in range(60):  # heartbeats
            await shop.clock.advance(30.0)
            shop.keeper.nudge(2)
        assert len(shop.cloud.asked) < 16

        shop.cloud.damage = 0
        await shop.clock.run_until(lambda: shop.mirror.version == 2, within_s=POLL_S + 1.0)


async def test_a_rotten_mirror_is_fetched_anew(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    shop.cloud.publish([an_article(1), an_article(2)])
    await shop.step()
    await shop.mirror.writer.transaction(lambda c: c.execute("UPDATE article SET body = x'00' WHERE id = 2"))

    async with shop.running():
        await shop.clock.run_until(lambda: len(shop.cloud.asked) == 2)
        await shop.clock.advance(1.0)

        assert shop.cloud.asked == [None, None]
        assert shop.mirror.by_id(an_article(2).article_id) == (1, [an_article(2)])
        assert await shop.mirror.verify()
    assert "catalogue.rotten" in caplog.messages


async def test_a_mirror_that_cannot_be_read_does_not_stop_the_loop(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    await shop.mirror.writer.transaction(lambda c: c.execute("ALTER TABLE catalogue RENAME TO lost"))

    async with shop.running():
        await shop.clock.advance(3_600.0)

    assert "catalogue.not_refreshed" in caplog.messages


async def test_what_the_journal_could_not_take_is_recorded_later(shop: Shop) -> None:
    shop.cloud.publish([an_article(1)])
    shop.notes.trouble = NotReady()
    await shop.step()
    assert (shop.mirror.version, shop.notes.written) == (1, [])

    shop.notes.trouble = None
    await shop.step()

    assert [(kind, data["version"]) for kind, data in shop.notes.written] == [("catalogue_applied", 1)]


async def test_the_age_counts_from_the_last_question_that_was_answered(shop: Shop) -> None:
    assert shop.keeper.age_s == AGE_UNKNOWN_S
    shop.cloud.publish([an_article(1)])
    shop.cloud.latency_s = 30.0
    await shop.step()
    assert shop.keeper.age_s == pytest.approx(30.0)

    await shop.clock.advance(100.0)
    shop.clock.jump_wall(timedelta(days=-400))
    shop.cloud.cut()
    with pytest.raises(CloudUnreachable):
        await shop.step()

    assert shop.keeper.age_s == pytest.approx(140.0)


@pytest.mark.parametrize(
    ("quality", "reboot", "asleep", "expected"),
    [
        ("unknown", False, timedelta(hours=-9), 60.0),
        ("synced", True, timedelta(hours=9), 9 * 3_600.0 + 60.0),
        ("synced", True, timedelta(days=-1), AGE_UNKNOWN_S),
        ("floor", True, timedelta(hours=9), AGE_UNKNOWN_S),
        ("unknown", True, timedelta(hours=9), AGE_UNKNOWN_S),
    ],
    ids=["same boot: monotonic", "confirmed clock: wall", "from the future", "no battery clock", "never set"],
)
async def test_the_age_survives_a_restart_honestly(
    tmp_path: Path, quality: ClockQuality, reboot: bool, asleep: timedelta, expected: float
) -> None:
    clock = FakeClock()
    async with a_shop(tmp_path, clock) as shop:
        shop.cloud.latency_s = 0.0
        shop.cloud.publish([an_article(1)])
        await shop.step()
    await clock.advance(60.0)
    if reboot:
        clock.reboot("boot-2")
    clock.jump_wall(asleep)
    clock.quality = quality

    async with a_shop(tmp_path, clock) as shop:
        assert shop.keeper.age_s == pytest.approx(expected)

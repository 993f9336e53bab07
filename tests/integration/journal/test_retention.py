"""What the cloud holds leaves the box after its retention, and nothing before."""

import asyncio
import random
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from appliance.domain.errors import ChainFault
from appliance.runtime.clock import rfc3339
from appliance.services.retention import CHUNK_EVENTS, Retention
from appliance.storage import journal_tables as tables
from appliance.storage.commit import Draft
from tests.fakes.clock import OPENING, FakeClock
from tests.fakes.journals import a_journal, a_note
from tests.fakes.sales import a_trading_day
from tests.integration.journal.pruning import KEEP_DAYS, old_journal, prune_all, receipt, sell, seqs, verified


async def test_what_the_cloud_held_for_the_whole_retention_leaves(tmp_path: Path) -> None:
    clock = FakeClock()
    async with old_journal(tmp_path, clock) as journal:
        assert await prune_all(journal, clock) == 101

    assert seqs(tmp_path) == [102]
    assert verified(tmp_path).fault is None


async def test_one_day_less_and_nothing_leaves(tmp_path: Path) -> None:
    clock = FakeClock()
    async with old_journal(tmp_path, clock) as journal:
        assert await prune_all(journal, clock, keep_days=37) == 0

    assert len(seqs(tmp_path)) == 102


async def test_what_has_no_receipt_stays_however_old(tmp_path: Path) -> None:
    clock = FakeClock()
    async with a_journal(tmp_path, clock) as journal:
        await sell(journal, a_trading_day(random.Random(1), 50))
        await receipt(journal, clock, 20)
        clock.jump_wall(timedelta(days=4_000))

        await prune_all(journal, clock)

    assert seqs(tmp_path) == list(range(21, 52))


@pytest.mark.parametrize("quality", ["unknown", "floor"])
async def test_a_clock_that_nobody_confirmed_prunes_nothing(tmp_path: Path, quality: str) -> None:
    clock = FakeClock()
    async with old_journal(tmp_path, clock) as journal:
        clock.jump_wall(timedelta(days=3_650))
        clock.quality = quality  # type: ignore[assignment]  # one of ClockQuality

        assert await prune_all(journal, clock) == 0


@pytest.mark.parametrize("years", [-10, 10])
async def test_a_receipt_whose_time_is_not_ours_does_not_count(tmp_path: Path, years: int) -> None:
    """The cloud's clock was wrong, or ours: nothing can be said of the age until both agree."""
    clock = FakeClock()
    async with a_journal(tmp_path, clock) as journal:
        await sell(journal, a_trading_day(random.Random(1), 10))
        await receipt(journal, clock, at=rfc3339(OPENING + timedelta(days=365 * years)))
        clock.jump_wall(timedelta(days=36))
        await journal.append(a_note(1))
        assert await prune_all(journal, clock) == 0

        await receipt(journal, clock)
        clock.jump_wall(timedelta(days=36))
        assert await prune_all(journal, clock) == 11


async def test_the_newest_event_always_stays(tmp_path: Path) -> None:
    clock = FakeClock()
    async with a_journal(tmp_path, clock) as journal:
        await journal.append(a_note(1))
        await receipt(journal, clock)
        clock.jump_wall(timedelta(days=100))
        await prune_all(journal, clock)
        end = journal.end

    assert seqs(tmp_path) == [2]
    async with a_journal(tmp_path, clock) as journal:
        assert journal.end == end


async def test_a_chunk_is_bounded(tmp_path: Path) -> None:
    clock = FakeClock()
    async with old_journal(tmp_path, clock, sales=300) as journal:
        retention = Retention(journal, clock, KEEP_DAYS)

        assert await retention.step()

        assert retention.pruned == CHUNK_EVENTS
    assert verified(tmp_path).fault is None


async def test_a_damaged_journal_is_not_pruned_and_says_so(tmp_path: Path) -> None:
    clock = FakeClock()
    async with old_journal(tmp_path, clock) as journal:
        with sqlite3.connect(tmp_path / "journal.db") as connection:
            body = tables.body_at(connection, tables.place_of(1, 30)) or b""
            connection.execute(
                "UPDATE event SET body = ? WHERE place = ?",
                (body.replace(b"sale", b"salt"), tables.place_of(1, 30)),
            )
        connection.close()
        retention = Retention(journal, clock, KEEP_DAYS)

        assert not await retention.step()

        assert retention.stopped is not None
        with pytest.raises(ChainFault):
            await journal.prune(clock.wall(), 64)
        assert seqs(tmp_path) == list(range(1, 103))


async def test_the_loop_prunes_by_itself_and_waits_for_an_idle_moment(tmp_path: Path) -> None:
    clock = FakeClock()
    async with old_journal(tmp_path, clock, sales=150) as journal:
        retention = Retention(journal, clock, KEEP_DAYS)
        task = asyncio.create_task(retention.run())

        await clock.run_until(lambda: retention.pruned == 151, within_s=10.0)

        task.cancel()
    assert seqs(tmp_path) == [152]


async def test_an_odd_event_that_no_ack_was_given_for_leaves_like_any_other(tmp_path: Path) -> None:
    clock = FakeClock()
    async with a_journal(tmp_path, clock) as journal:
        for data in (b'"something else"', b"[]", b'{"flags":[],"sale":"none"}'):
            await journal.append(Draft("sale", data))
        await receipt(journal, clock)
        clock.jump_wall(timedelta(days=36))
        await journal.append(a_note(1))

        assert await prune_all(journal, clock) == 4

    assert seqs(tmp_path) == [5]
    assert verified(tmp_path).fault is None


async def test_a_sale_whose_ack_could_no_longer_be_given_stops_pruning_and_not_the_box(
    tmp_path: Path,
) -> None:
    clock = FakeClock()
    async with a_journal(tmp_path, clock) as journal:
        await journal.append(Draft("sale", b"[]", sale_key=bytes(16)))
        await receipt(journal, clock)
        clock.jump_wall(timedelta(days=36))
        await journal.append(a_note(1))
        retention = Retention(journal, clock, KEEP_DAYS)

        assert not await retention.step()

        assert retention.stopped is not None
    assert seqs(tmp_path) == [1, 2, 3]

"""Trusted time is a floor: signed statements raise it, nothing sinks it, and it outlives a power cut."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.runtime.clock import BUILT_AT
from appliance.runtime.trusted_time import TrustedClock
from tests.fakes.clock import OPENING, FakeClock

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "time-floor"


def test_a_box_that_knows_nothing_believes_its_own_code(file: Path) -> None:
    clock = TrustedClock(FakeClock(EPOCH, quality="unknown"), file)

    assert clock.now() == BUILT_AT
    assert clock.span() == (BUILT_AT, None)


async def test_a_trusted_time_raises_the_floor_which_then_runs_on(file: Path) -> None:
    inner = FakeClock(EPOCH, quality="unknown")
    clock = TrustedClock(inner, file)

    clock.confirm(OPENING)
    await inner.advance(90)

    assert inner.confirmed == [OPENING]
    assert clock.span() == (OPENING + timedelta(seconds=90), None)
    assert clock.now() == OPENING + timedelta(seconds=90)


def test_an_older_trusted_time_sinks_nothing(file: Path) -> None:
    clock = TrustedClock(FakeClock(), file)

    clock.confirm(OPENING)
    clock.confirm(OPENING - HOUR)

    assert clock.span()[0] == OPENING


def test_only_an_agreeing_wall_clock_is_believed_upwards(file: Path) -> None:
    inner = FakeClock(OPENING + 50 * 365 * 24 * HOUR, quality="floor")
    clock = TrustedClock(inner, file)
    assert clock.span() == (BUILT_AT, None)

    clock.confirm(OPENING)
    assert clock.span() == (OPENING, None)
    assert clock.now() == OPENING

    inner.jump_wall(OPENING + timedelta(seconds=60) - inner.wall())
    clock.confirm(OPENING)
    assert clock.span() == (OPENING, OPENING + timedelta(seconds=60))


def test_a_wall_clock_a_little_behind_the_floor_leaves_no_gap(file: Path) -> None:
    inner = FakeClock(OPENING - timedelta(seconds=60))
    clock = TrustedClock(inner, file)

    clock.confirm(OPENING)

    assert clock.span() == (OPENING, OPENING)
    assert clock.now() == OPENING


def test_a_wall_clock_below_the_floor_is_of_unknown_quality(file: Path) -> None:
    first = TrustedClock(FakeClock(), file)
    first.confirm(OPENING)
    first.save()

    again = TrustedClock(FakeClock(OPENING - HOUR, quality="floor"), file)

    assert again.reading().quality == "unknown"
    assert again.now() == OPENING


async def test_the_floor_outlives_a_restart_and_is_not_written_at_each_receipt(file: Path) -> None:
    inner, unset = FakeClock(), FakeClock(EPOCH, quality="unknown")
    clock = await asyncio.to_thread(TrustedClock, inner, file)
    clock.confirm(OPENING)
    await asyncio.to_thread(clock.save)
    first = await asyncio.to_thread(TrustedClock, unset, file)

    await inner.advance(600)
    await asyncio.to_thread(clock.save)
    soon = await asyncio.to_thread(TrustedClock, unset, file)
    await asyncio.to_thread(clock.save, at_stop=True)
    stopped = await asyncio.to_thread(TrustedClock, unset, file)

    assert first.now() == soon.now() == OPENING
    assert stopped.now() == OPENING + timedelta(seconds=600)


@pytest.mark.parametrize("content", [b"", b"soon", b"\xff\xfe", b"2026-11-22T08:30:00"])
def test_a_damaged_file_stops_nobody(file: Path, content: bytes) -> None:
    file.write_bytes(content)

    assert TrustedClock(FakeClock(EPOCH, quality="unknown"), file).now() == BUILT_AT


def test_a_clock_without_a_file_keeps_nothing(tmp_path: Path) -> None:
    clock = TrustedClock(FakeClock(), None)

    clock.confirm(OPENING)
    clock.save(at_stop=True)

    assert list(tmp_path.iterdir()) == []

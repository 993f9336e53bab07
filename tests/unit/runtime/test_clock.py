"""The machine's clocks, and how far the wall clock is trusted."""

import uuid
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from appliance.runtime.clock import AGREEMENT_S, BUILT_AT, Clock, SystemClock, rfc3339
from tests.fakes.clock import FakeClock


class SteppedClock(SystemClock):
    """The machine's clocks, with a wall clock that the test can step."""

    def __init__(self) -> None:
        super().__init__()
        self.step = timedelta()

    def wall(self) -> datetime:
        return super().wall() + self.step


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (datetime(2026, 11, 22, 8, 30, 0, 123_999, UTC), "2026-11-22T08:30:00.123Z"),
        (datetime(2026, 11, 22, 8, 30, tzinfo=UTC), "2026-11-22T08:30:00.000Z"),
        (datetime(2026, 11, 22, 0, 30, tzinfo=timezone(timedelta(hours=1))), "2026-11-21T23:30:00.000Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000Z"),
    ],
)
def test_an_instant_is_written_in_utc_with_milliseconds(instant: datetime, text: str) -> None:
    assert rfc3339(instant) == text


def test_instants_sort_as_their_texts_do() -> None:
    instants = [datetime(2026, 11, 22, tzinfo=UTC) + timedelta(milliseconds=7 * n**3) for n in range(200)]

    assert sorted(map(rfc3339, reversed(instants))) == list(map(rfc3339, instants))


def test_the_wall_is_in_utc_and_the_monotonic_clock_never_goes_back() -> None:
    clock = SystemClock()
    readings = [clock.monotonic() for _ in range(1_000)]

    assert clock.wall().utcoffset() == timedelta()
    assert readings == sorted(readings)
    assert clock.reading().mono_ns >= readings[-1] * 1e9


def test_a_run_of_the_machine_has_one_name(tmp_path: Path) -> None:
    (tmp_path / "boot_id").write_text("5e0b1c52-8a2f-4f3e-9c55-0c6d3c3e1f11\n")

    assert SystemClock(tmp_path / "boot_id").reading().boot == "5e0b1c52-8a2f-4f3e-9c55-0c6d3c3e1f11"
    assert SystemClock().boot == SystemClock().boot


def test_where_the_machine_has_no_boot_id_each_process_gets_one(tmp_path: Path) -> None:
    clock = SystemClock(tmp_path / "absent")

    assert uuid.UUID(clock.boot)
    assert clock.reading().boot == clock.boot != SystemClock(tmp_path / "absent").boot


def test_until_somebody_tells_the_time_the_wall_is_only_known_not_to_be_too_early() -> None:
    clock = SteppedClock()
    clock.step = BUILT_AT - clock.wall() + timedelta(days=1)
    assert clock.reading().quality == "floor"

    clock.step -= timedelta(days=2)
    assert clock.reading().quality == "unknown"


@pytest.mark.parametrize(
    ("off_by_s", "quality"),
    [
        (0, "synced"),
        (AGREEMENT_S - 5, "synced"),
        (5 - AGREEMENT_S, "synced"),
        (AGREEMENT_S + 5, "unknown"),
        (-1e8, "unknown"),
    ],
)
def test_a_trusted_time_decides_the_quality(off_by_s: float, quality: str) -> None:
    clock = SystemClock()
    clock.confirm(clock.wall() - timedelta(seconds=off_by_s))

    assert clock.reading().quality == quality


def test_the_last_trusted_time_counts() -> None:
    clock = SystemClock()
    clock.confirm(clock.wall())
    clock.confirm(clock.wall() + timedelta(days=1))
    assert clock.reading().quality == "unknown"

    clock.confirm(clock.wall())
    assert clock.reading().quality == "synced"


def test_a_step_of_the_wall_voids_what_was_agreed_about_it() -> None:
    clock = SteppedClock()
    clock.confirm(clock.wall())
    clock.step = timedelta(seconds=30)  # within what a receipt's travel may cost
    assert clock.reading().quality == "synced"

    clock.step = timedelta(days=365)
    assert clock.reading().quality == "unknown"


@pytest.fixture
def machine() -> Clock:
    """Made before the loop runs, as by the composition root: it reads a file."""
    return SystemClock()


async def test_sleep_takes_at_least_that_long(machine: Clock) -> None:
    before_s = machine.monotonic()
    await machine.sleep(0.01)

    # A timer may fire within the clock's resolution before its time.
    assert machine.monotonic() - before_s >= 0.009


def test_the_fake_judges_a_trusted_time_as_the_machine_does() -> None:
    for off_by_s in (0, AGREEMENT_S - 5, AGREEMENT_S + 5, -AGREEMENT_S - 5):
        real, fake = SystemClock(), FakeClock()
        for clock in (real, fake):
            clock.confirm(clock.wall() + timedelta(seconds=off_by_s))
        assert fake.reading().quality == real.reading().quality

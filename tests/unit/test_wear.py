"""What a card was written in a day, and what makes a box call for a person."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.health import MachineView
from appliance.domain.wear import DAY_S, BoardReading, Written, view, wear_issues
from appliance.services.machine import MachineWatch
from tests.fakes.clock import FakeClock

HOUR_S, MB = 3_600.0, 1_000_000
LIMIT = 1_000 * MB


def test_a_machine_that_was_started_today_has_written_what_it_has_written() -> None:
    assert Written().in_a_day(5 * HOUR_S, 40 * MB) == 40 * MB


def test_a_daemon_that_was_just_started_takes_the_mean_since_the_boot() -> None:
    assert Written().in_a_day(10 * DAY_S, 1_000 * MB) == 100 * MB


def test_what_was_written_more_than_a_day_ago_is_forgotten() -> None:
    written, day = Written(), 0
    for hour in range(1, 73):
        # An update on the first day, then a quiet shop.
        total = 900 * MB + hour * MB
        day = written.in_a_day(hour * HOUR_S, total)
        written.note(hour * HOUR_S, total)

    assert day == 24 * MB


@given(st.lists(st.tuples(st.floats(1.0, 2 * DAY_S), st.integers(0, 500 * MB)), min_size=1, max_size=60))
def test_a_day_is_never_less_than_nothing_and_never_more_than_all(steps: list[tuple[float, int]]) -> None:
    written, up_s, total = Written(), 0.0, 0
    for rest_s, more in steps:
        up_s, total = up_s + rest_s, total + more
        assert 0 <= written.in_a_day(up_s, total) <= total
        written.note(up_s, total)
        assert len(written._samples) <= 27, "one an hour"


def test_a_machine_that_counts_nothing_is_not_said_to_have_written_nothing() -> None:
    assert view(BoardReading(), Written(), 60.0) == MachineView()


@pytest.mark.parametrize(
    ("machine", "issues"),
    [
        (MachineView(), []),
        (MachineView(written_day_bytes=LIMIT, disk_errors=0, life_used_ratio=0.8, watchdog="armed"), []),
        (MachineView(written_day_bytes=LIMIT + 1), ["disk-wearing"]),
        (MachineView(disk_errors=1), ["disk-errors"]),
        (MachineView(life_used_ratio=0.9), ["disk-worn"]),
        (MachineView(under_voltage=True), ["under-voltage"]),
        (MachineView(under_voltage=False, watchdog="off"), ["watchdog-off"]),
    ],
)
def test_an_issue_has_one_cause(machine: MachineView, issues: list[str]) -> None:
    assert wear_issues(machine, LIMIT) == issues


class OneBoard:
    """A machine whose watchdog is off and which has written 3 GB since it was started."""

    def read(self) -> BoardReading:
        return BoardReading(written_bytes=3_000 * MB, watchdog="off")


@pytest.mark.parametrize(("serving", "issues"), [(True, ["disk-wearing", "watchdog-off"]), (False, [])])
async def test_a_service_has_issues_with_its_machine_and_a_desk_has_none(
    serving: bool, issues: list[str]
) -> None:
    watch = MachineWatch(OneBoard(), FakeClock(), LIMIT, serving=serving)

    await watch.look()

    assert watch.issues() == issues
    assert watch.view.written_day_bytes == 3_000 * MB

"""What the tills were told and allowed around a cut, from moments alone."""

import math

import pytest

from demo.outages import (
    NOTICE_S,
    RECOVER_S,
    Count,
    Operation,
    Outage,
    Phase,
    Proposal,
    by_phase,
    edges,
    settled_s,
)

TILLS = ("T1", "T2")
CUT = Outage(15.0, 35.0)


def proposals(*moments: tuple[float, str, str]) -> list[Proposal]:
    return [Proposal(at_s, till, mode) for at_s, till, mode in moments]  # type: ignore[arg-type]


HEARD = proposals(
    (4.0, "T1", "cloud"),
    (4.1, "T2", "cloud"),
    (20.0, "T1", "local"),
    (21.0, "T2", "local"),
    (42.0, "T1", "cloud"),
    (42.1, "T2", "cloud"),
)


def test_both_edges_are_counted_by_till() -> None:
    (found,) = edges([CUT], HEARD, TILLS, until_s=60.0)

    assert (found.heard_local, found.heard_cloud, found.tills) == (2, 2, 2)
    assert found.due_local
    assert found.due_cloud
    assert found.ok


@pytest.mark.parametrize("missing", [(20.0, "T1", "local"), (42.1, "T2", "cloud")])
def test_a_till_that_did_not_hear_in_time_is_a_fault(missing: tuple[float, str, str]) -> None:
    heard = [one for one in HEARD if (one.at_s, one.till, one.mode) != missing]

    (found,) = edges([CUT], heard, TILLS, until_s=60.0)

    assert not found.ok


def test_a_cut_too_short_to_notice_demands_nothing() -> None:
    (found,) = edges([Outage(15.0, 15.0 + NOTICE_S - 1)], [], TILLS, until_s=30.0)

    assert not found.due_local
    assert found.ok


def test_a_run_that_ends_too_soon_after_a_cut_does_not_demand_the_way_back() -> None:
    (found,) = edges([CUT], HEARD[:4], TILLS, until_s=35.0 + RECOVER_S - 1)

    assert not found.due_cloud
    assert found.ok


def test_time_that_a_restart_of_the_box_breaks_up_does_not_count_as_time() -> None:
    (found,) = edges([CUT], [], TILLS, until_s=60.0, box_starts_s=[10.0, 25.0, 40.0, 50.0])

    assert not found.due_local
    assert not found.due_cloud


def test_a_cut_that_still_lasts_ends_with_the_run() -> None:
    (found,) = edges([Outage(15.0)], HEARD[:4], TILLS, until_s=60.0)

    assert found.mended_s == 60.0
    assert found.ok


def test_a_cut_is_settled_once_the_last_till_has_heard() -> None:
    assert settled_s(CUT, HEARD, TILLS) == 21.0


def test_a_cut_is_settled_at_the_latest_when_everybody_should_have_heard() -> None:
    assert settled_s(CUT, HEARD[:3], TILLS) == 15.0 + NOTICE_S


@pytest.mark.parametrize(
    ("at_s", "phase"),
    [
        (1.0, "starting"),
        (5.0, "up"),
        (15.0, "noticing"),
        (20.9, "noticing"),
        (21.0, "cut"),
        (34.9, "cut"),
        (35.0, "recovering"),
        (35.0 + RECOVER_S, "up"),
    ],
)
def test_an_operation_counts_in_the_phase_of_its_moment(at_s: float, phase: Phase) -> None:
    counts = by_phase([Operation(at_s, "T1", passed=False)], [CUT], HEARD, TILLS)

    assert counts[phase] == Count(passed=0, refused=1)
    assert sum(count.refused for count in counts.values()) == 1


def test_passed_and_refused_are_counted_apart() -> None:
    asked = [
        Operation(5.0, "T1", passed=True),
        Operation(6.0, "T2", passed=True),
        Operation(7.0, "T1", passed=False),
    ]

    assert by_phase(asked, [], HEARD, TILLS)["up"] == Count(passed=2, refused=1)


def test_a_box_that_was_killed_is_starting_until_it_trusts_the_line_again() -> None:
    asked = [Operation(at_s, "T1", passed=False) for at_s in (39.0, 43.0)]

    counts = by_phase(asked, [], HEARD, TILLS, box_starts_s=[0.0, 38.0])

    assert (counts["starting"].refused, counts["up"].refused) == (1, 1)


def test_a_box_that_never_trusts_the_line_is_starting_only_for_so_long() -> None:
    counts = by_phase([Operation(RECOVER_S, "T1", passed=False)], [], [], TILLS)

    assert counts["up"].refused == 1


def test_an_outage_without_an_end_lasts() -> None:
    assert Outage(1.0).mended_s == math.inf


def test_from_the_first_gust_on_an_operation_is_one_of_bad_weather() -> None:
    asked = [
        Operation(20.0, "T1", passed=True),
        Operation(31.0, "T1", passed=True),
        Operation(90.0, "T1", False),
    ]

    counts = by_phase(asked, [], [], ["T1"], gusts=[Outage(30.0, 32.0)])

    assert counts["up"] == Count(passed=1)
    assert counts["stormy"] == Count(passed=1, refused=1)


def test_a_cut_in_bad_weather_is_due_to_be_heard_by_nobody() -> None:
    found = edges([Outage(40.0, 60.0)], [], ["T1"], until_s=90.0, gusts=[Outage(20.0, 22.0)])

    assert [(edge.due_local, edge.due_cloud, edge.ok) for edge in found] == [(False, False, True)]

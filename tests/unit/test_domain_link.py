"""The state of the line, sample by sample: when it is down, proves itself, and is up."""

import pytest

from appliance.domain.link import Cause, Link, LinkState, Sample, observe, proof_gap_s
from tests.unit.link_samples import LOST, OK, online, run


def test_a_box_that_starts_is_offline_and_says_that_it_is_starting() -> None:
    link = Link()

    assert (link.state, link.cause, link.mode) == (LinkState.OFFLINE, Cause.STARTING, "local")


def test_the_first_success_opens_the_link_half_and_tills_stay_local() -> None:
    link = run([(0.0, OK)])

    assert link.half_open
    assert (link.state, link.cause, link.mode) == (LinkState.DEGRADED, Cause.PROVING, "local")


@pytest.mark.parametrize(("gap_s", "state"), [(4.9, LinkState.DEGRADED), (5.0, LinkState.ONLINE)])
def test_the_proof_is_a_success_five_seconds_later(gap_s: float, state: LinkState) -> None:
    assert run([(0.0, OK), (1.0, OK), (gap_s, OK)]).state is state


def test_a_failure_while_half_open_closes_the_link_again() -> None:
    link = run([(0.0, OK), (2.0, LOST)])

    assert (link.state, link.cause, link.mode, link.half_open) == (LinkState.OFFLINE, LOST, "local", False)


def test_two_failures_are_forgiven_and_the_third_is_not() -> None:
    twice = run([(1.0, LOST), (1.5, LOST)], online())
    thrice = run([(2.5, Cause.NO_DNS)], twice)

    assert (twice.state, twice.mode) == (LinkState.ONLINE, "cloud")
    assert (thrice.state, thrice.cause, thrice.mode) == (LinkState.OFFLINE, Cause.NO_DNS, "local")


def test_requests_that_die_in_one_moment_are_one_failure() -> None:
    link = run([(1.0 + n / 100, LOST) for n in range(30)], online())

    assert link.online
    assert link.failures == 1


def test_a_hung_request_from_before_the_mending_does_not_undo_it() -> None:
    offline = run([(1.0, LOST), (1.5, LOST), (2.5, LOST)], online())
    mended = run([(10.0, OK)], offline)

    # Begun at 5, while the line was cut; its time-out is told at 15.
    late = observe(mended, Sample(15.0, LOST, took_s=10.0))

    assert late is mended


def test_a_request_that_begins_after_the_success_and_fails_does_count() -> None:
    half_open = run([(10.0, OK)])

    assert observe(half_open, Sample(13.0, LOST, took_s=2.0)).state is LinkState.OFFLINE


def test_a_changed_cause_of_an_outage_is_told_the_second_time_in_a_row() -> None:
    offline = run([(1.0, LOST), (1.5, LOST), (2.5, LOST)], online())
    once = run([(7.0, Cause.NO_LINK)], offline)
    between = run([(12.0, LOST)], once)
    twice = run([(17.0, Cause.NO_LINK), (22.0, Cause.NO_LINK)], between)

    assert [link.cause for link in (offline, once, between, twice)] == [LOST, LOST, LOST, Cause.NO_LINK]


def test_the_first_known_cause_replaces_starting_at_once() -> None:
    assert run([(1.0, Cause.NO_LINK)]).cause is Cause.NO_LINK


def test_a_line_that_breaks_again_and_again_must_prove_itself_longer_and_longer() -> None:
    gaps, at_s, link = [], 0.0, Link()
    for _ in range(8):
        link = run([(at_s, OK), (at_s + 1.0, LOST)], link)
        at_s += 5.0
        gaps.append(proof_gap_s(link, at_s))

    assert gaps == [5.0, 5.0, 10.0, 20.0, 40.0, 80.0, 120.0, 120.0]


def test_old_breaks_are_forgotten() -> None:
    link = run([(0.0, OK), (1.0, LOST), (2.0, OK), (3.0, LOST), (4.0, OK), (5.0, LOST)])

    assert proof_gap_s(link, 6.0) == 10.0
    assert proof_gap_s(link, 301.5) == 5.0

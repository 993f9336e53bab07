"""The state of the line, sample by sample."""

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.link import (
    BREAKS_MAX,
    FAILURES_TO_OFFLINE,
    PROBE_EVERY_S,
    PROBE_SPREAD,
    PROOF_GAP_MAX_S,
    PROOF_GAP_S,
    WINDOW,
    Cause,
    Link,
    LinkState,
    Sample,
    next_probe_s,
    observe,
    proof_gap_s,
)

OK, LOST = Cause.OK, Cause.NO_ANSWER

# Seconds since the sample before, how it ended, how long it took, whether it was bulk.
steps = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.5, 5.0, 5.1, 30.0, 400.0]) | st.floats(0.0, 60.0),
        st.sampled_from([OK, OK, OK, LOST, LOST, Cause.NO_DNS]),
        st.sampled_from([0.0, 0.05, 0.7, 1.5, 2.0, 30.0]),
        st.booleans(),
    ),
    max_size=80,
)


def history(
    told: list[tuple[float, Cause, float, bool]], link: Link | None = None
) -> list[tuple[Sample, Link]]:
    """Each sample and the link after it."""
    link, at_s = link or Link(), 0.0
    seen = []
    for after_s, cause, took_s, bulk in told:
        at_s += after_s
        sample = Sample(at_s, cause, took_s, bulk)
        link = observe(link, sample)
        seen.append((sample, link))
    return seen


def run(samples: Iterable[tuple[float, Cause]], link: Link | None = None) -> Link:
    """The link after samples told as (time, cause)."""
    link = link or Link()
    for at_s, cause in samples:
        link = observe(link, Sample(at_s, cause, 0.02))
    return link


def online(at_s: float = 0.0) -> Link:
    """A link that proved itself up to this time."""
    return run([(at_s - 5.0, OK), (at_s, OK)])


def last_time(link: Link) -> float:
    return max(link.succeeded_s or 0.0, link.failed_s or 0.0, link.since_s)


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


def slow_samples(count: int, from_s: float, took_s: float, *, bulk: bool = False) -> list[Sample]:
    return [Sample(from_s + 5.0 * n, OK, took_s, bulk) for n in range(count)]


def after(link: Link, samples: list[Sample]) -> Link:
    for sample in samples:
        link = observe(link, sample)
    return link


def test_three_slow_answers_degrade_the_link_and_leave_the_mode_alone() -> None:
    two = after(online(), slow_samples(2, 5.0, 1.2))
    three = after(two, slow_samples(1, 15.0, 1.2))

    assert two.online
    assert (three.state, three.cause, three.mode) == (LinkState.DEGRADED, Cause.SLOW, "cloud")
    assert not three.half_open


def test_one_slow_answer_in_twenty_does_not_degrade_the_link() -> None:
    link = online()
    for n in range(100):
        link = observe(link, Sample(5.0 * n, OK, 3.0 if n % 10 == 0 else 0.1))
        assert link.online


def test_the_time_of_bulk_transfers_says_nothing() -> None:
    assert after(online(), slow_samples(50, 5.0, 9.0, bulk=True)).online


def test_two_blips_with_their_retries_do_not_degrade_a_link_that_just_came_back() -> None:
    samples = [(1.0, LOST), (1.5, OK), (6.0, LOST), (6.5, LOST), (7.5, OK)]

    assert run(samples, online()).online


def test_loss_of_a_fifth_degrades_the_link_even_when_it_never_fails_three_times_in_a_row() -> None:
    link = run([(1.0, LOST), (1.5, OK), (6.0, LOST), (6.5, LOST), (7.5, OK), (12.0, LOST)], online())

    assert (link.state, link.cause, link.mode) == (LinkState.DEGRADED, Cause.LOSSY, "cloud")


def test_failures_long_ago_do_not_degrade_the_link_now() -> None:
    link = online()
    for n in range(
        1, 20
    ):  # one lost probe an hour, each retried well; in between only bulk transfers are seen
        link = run([(3_600.0 * n, LOST), (3_600.0 * n + 0.5, OK)], link)

    assert link.online


def test_a_slow_link_is_online_again_after_a_fast_minute_and_not_before_half_of_one() -> None:
    link = after(online(), slow_samples(3, 5.0, 1.2))
    states = []
    for n in range(1, 13):
        link = observe(link, Sample(15.0 + 5.0 * n, OK, 0.1))
        states.append(link.state)

    assert states == [LinkState.DEGRADED] * 9 + [LinkState.ONLINE] * 3


def test_many_fast_answers_at_once_do_not_end_a_slow_spell_early() -> None:
    link = after(online(), slow_samples(3, 5.0, 1.2))
    link = after(link, [Sample(16.0 + n / 100, OK, 0.1) for n in range(200)])

    assert link.state is LinkState.DEGRADED


def test_between_the_thresholds_nothing_changes() -> None:
    slow = after(online(), slow_samples(3, 5.0, 1.2))

    assert after(online(), slow_samples(60, 5.0, 0.8)).online
    assert after(slow, slow_samples(60, 20.0, 0.8)).state is LinkState.DEGRADED


def test_a_degraded_link_that_dies_goes_offline() -> None:
    slow = after(online(), slow_samples(3, 5.0, 1.2))
    link = run([(20.0, LOST), (20.5, LOST), (21.5, LOST)], slow)

    assert (link.state, link.mode) == (LinkState.OFFLINE, "local")


# --- whatever happens


@given(steps)
def test_the_mode_changes_only_on_the_outer_edges(told: list[tuple[float, Cause, float, bool]]) -> None:
    before = Link()
    for _, link in history(told):
        if link.mode != before.mode:
            proven = before.half_open and link.state is LinkState.ONLINE
            fell = before.state is not LinkState.OFFLINE and link.state is LinkState.OFFLINE
            assert proven if link.mode == "cloud" else fell
        assert (link.mode == "cloud") == (link.state is not LinkState.OFFLINE and not link.half_open)
        before = link


@given(steps)
def test_never_offline_with_fewer_than_three_failures_in_a_row(
    told: list[tuple[float, Cause, float, bool]],
) -> None:
    before, in_a_row = Link(), 0
    for sample, link in history(told):
        in_a_row = 0 if sample.ok else in_a_row + 1
        if link.state is LinkState.OFFLINE and before.state is not LinkState.OFFLINE and not before.half_open:
            assert in_a_row >= FAILURES_TO_OFFLINE
        before = link


@given(steps)
def test_never_back_to_cloud_without_five_good_seconds(told: list[tuple[float, Cause, float, bool]]) -> None:
    before = Link()
    good_since_s: float | None = None
    for sample, link in history(told):
        if sample.ok and good_since_s is None:
            good_since_s = sample.at_s
        if before.mode == "local" and link.mode == "cloud":
            assert good_since_s is not None
            assert sample.at_s - good_since_s >= PROOF_GAP_S
        if not sample.ok and link is not before:
            good_since_s = None
        before = link


@given(steps)
def test_memory_is_bounded_and_the_state_is_never_entered_in_the_future(
    told: list[tuple[float, Cause, float, bool]],
) -> None:
    for sample, link in history(told):
        assert len(link.window) <= WINDOW
        assert len(link.breaks) <= BREAKS_MAX
        assert link.since_s <= sample.at_s


@given(steps)
def test_three_spaced_failures_always_end_in_local_mode(
    told: list[tuple[float, Cause, float, bool]],
) -> None:
    link = history(told)[-1][1] if told else Link()
    start_s = last_time(link) + 1.0

    link = run([(start_s, LOST), (start_s + 0.5, LOST), (start_s + 1.5, LOST)], link)

    assert (link.state, link.mode) == (LinkState.OFFLINE, "local")


@given(steps)
def test_a_line_that_stays_well_always_ends_online(told: list[tuple[float, Cause, float, bool]]) -> None:
    link = history(told)[-1][1] if told else Link()
    start_s = last_time(link) + 1.0

    link = run([(start_s + 5.0 * n, OK) for n in range(int(PROOF_GAP_MAX_S / 5.0) + 2)], link)

    assert (link.state, link.cause, link.mode) == (LinkState.ONLINE, OK, "cloud")


@given(steps, st.floats(-1.0, 1.0), st.floats(0.0, 500.0))
def test_the_next_probe_is_never_at_once_and_never_far(
    told: list[tuple[float, Cause, float, bool]], spread: float, later_s: float
) -> None:
    link = history(told)[-1][1] if told else Link()

    wait_s = next_probe_s(link, last_time(link) + later_s, spread)

    assert 0.5 <= wait_s <= PROBE_EVERY_S * (1 + PROBE_SPREAD)


def test_the_first_failures_are_retried_quickly_and_then_at_the_cadence() -> None:
    link, waits = online(), []
    for n in itertools.count(1):
        link = run([(float(n), LOST)], link)
        waits.append(next_probe_s(link, float(n), 0.0))
        if n == 5:
            break

    assert waits == pytest.approx([0.5, 1.0, 4.98, 4.98, 4.98])


def test_a_half_open_link_is_probed_often_and_then_right_when_the_proof_can_be_had() -> None:
    half_open = run([(0.0, OK)])

    assert [next_probe_s(half_open, at_s, 0.7) for at_s in (0.0, 1.7, 3.5)] == pytest.approx([1.7, 1.7, 1.6])


def test_a_long_proof_is_watched_at_the_cadence_up_to_its_end() -> None:
    broken = run([(-2.0, OK), (-1.0, LOST), (0.0, OK), (1.0, LOST), (2.0, OK), (3.0, LOST), (4.0, OK)])

    # The proof takes 10 s, so it is due at 14.
    assert [next_probe_s(broken, at_s, 0.0) for at_s in (4.0, 9.2, 12.0)] == pytest.approx([1.7, 4.9, 2.1])

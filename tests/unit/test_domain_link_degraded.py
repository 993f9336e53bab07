"""A line that is slow or loses much is degraded, and only that."""

from appliance.domain.link import Cause, Link, LinkState, Sample, observe
from tests.unit.link_samples import LOST, OK, online, run


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

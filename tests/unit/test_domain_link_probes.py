"""When the line is probed next."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.link import PROBE_EVERY_S, PROBE_SPREAD, Cause, Link, next_probe_s
from tests.unit.link_samples import LOST, OK, history, last_time, online, run, steps


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

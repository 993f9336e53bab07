"""Bad weather: the same for the same seed, of every kind, and over early enough."""

import itertools
import random

import pytest

from demo.faults import CutShort, Drip, Duplicate, Flip, Jitter, Refuse, Reset, Swallow
from demo.weather import QUIET_S, forecast, gust


@pytest.mark.parametrize("for_s", [8.0, 40.0, 60.0, 600.0])
def test_the_end_of_a_run_is_quiet(for_s: float) -> None:
    for seed in range(50):
        ends = [due.at_s + due.gust.lasts_s for due in forecast(random.Random(seed), for_s)]

        assert all(end_s <= for_s - min(QUIET_S, for_s / 4) for end_s in ends)


def test_gusts_follow_one_another_with_calm_between() -> None:
    for before, after in itertools.pairwise(forecast(random.Random(1), 600.0)):
        assert after.at_s - (before.at_s + before.gust.lasts_s) >= 2.0


def test_a_run_without_an_end_has_weather_without_an_end() -> None:
    assert len(list(itertools.islice(forecast(random.Random(1), None), 500))) == 500


def test_the_same_seed_brings_the_same_weather() -> None:
    assert list(forecast(random.Random(7), 120.0)) == list(forecast(random.Random(7), 120.0))
    assert list(forecast(random.Random(7), 120.0)) != list(forecast(random.Random(8), 120.0))


def test_every_kind_of_fault_comes() -> None:
    rng = random.Random(1)

    seen = {type(fault) for _ in range(200) for fault in gust(rng).faults}

    assert seen == {Swallow, Reset, CutShort, Drip, Flip, Refuse, Duplicate, Jitter}

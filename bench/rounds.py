"""Short rounds in turns, and what is read from them: medians, spreads, ratios per round.

A machine is never the same twice: other work, caches, clock rates. So product and limit take turns within seconds of
each other, and only the ratio of one round's two halves is compared with a target.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import NamedTuple, TypeVar

Sample = TypeVar("Sample")


class Spread(NamedTuple):
    """The middle of some rounds, and their extremes."""

    median: float
    low: float
    high: float


def alternate(rounds: int, runs: Mapping[str, Callable[[], Sample]]) -> dict[str, list[Sample]]:
    """Run each of `runs` once a round; the order turns round from round to round, so that a drift favours nobody."""
    taken: dict[str, list[Sample]] = {name: [] for name in runs}
    for number in range(rounds):
        for name in list(runs) if number % 2 == 0 else reversed(list(runs)):
            taken[name].append(runs[name]())
    return taken


def spread(values: Sequence[float]) -> Spread:
    """Median, lowest and highest of at least one value."""
    return Spread(median(values), min(values), max(values))


def ratios(values: Sequence[float], limits: Sequence[float]) -> list[float]:
    """Each round's value over the same round's limit."""
    return [value / limit for value, limit in zip(values, limits, strict=True)]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of all values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

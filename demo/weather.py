"""Bad weather on the line: gusts of random faults at random moments, the same for the same seed. Pure."""

import random
from collections.abc import Callable, Iterator

import msgspec

from demo.faults import CutShort, Drip, Duplicate, Fault, Flip, Jitter, Refuse, Reset, Swallow, Way

# A box trusts its line after some seconds (domain/link.py), and so do its tills: they too shall have gusts to meet.
FIRST_S = 12.0
CALM_S = (2.0, 8.0)
GUST_S = (0.5, 5.0)
# The last gust ends this long before the run does, or a quarter of a short one, so that everything can settle.
QUIET_S = 15.0
# Where a fault strikes, in bytes: anywhere in the headers, or in the body of most questions and answers.
WITHIN_BYTES = 1_200

Kind = tuple[str, Callable[[random.Random], Fault]]


class Gust(msgspec.Struct, frozen=True):
    """What lies on the line together, what people are told of it, and for how long."""

    faults: list[Fault]
    words: str
    lasts_s: float


class Due(msgspec.Struct, frozen=True):
    """A gust, and when it begins, in seconds since selling began."""

    at_s: float
    gust: Gust


def gust(rng: random.Random) -> Gust:
    """One gust of any kind; one in four brings two faults at once."""
    kinds = rng.sample(_KINDS, 2 if rng.random() < 0.25 else 1)
    faults = [make(rng) for _, make in kinds]
    return Gust(faults, " and ".join(words for words, _ in kinds), rng.uniform(*GUST_S))


def forecast(rng: random.Random, for_s: float | None) -> Iterator[Due]:
    """The gusts of a run, one after another with calm between; for ever when the run has no end."""
    at_s, until_s = FIRST_S, None if for_s is None else for_s - min(QUIET_S, for_s / 4)
    while True:
        at_s += rng.uniform(*CALM_S)
        next_one = gust(rng)
        if until_s is not None and at_s + next_one.lasts_s > until_s:
            return
        yield Due(at_s, next_one)
        at_s += next_one.lasts_s


def _somewhere(rng: random.Random) -> int:
    return rng.randrange(WITHIN_BYTES)


def _either(rng: random.Random) -> Way:
    return "up" if rng.random() < 0.5 else "down"


_KINDS: tuple[Kind, ...] = (
    ("answers are lost", lambda rng: Swallow("down", rng.choice((0, _somewhere(rng))))),
    ("questions are lost", lambda rng: Swallow("up", rng.choice((0, _somewhere(rng))))),
    ("connections are reset half-way", lambda rng: Reset(_either(rng), _somewhere(rng))),
    ("what is sent ends too early", lambda rng: CutShort(_either(rng), _somewhere(rng))),
    ("bytes drip", lambda rng: Drip(_either(rng), rng.uniform(5.0, 500.0), _somewhere(rng))),
    ("headers stall", lambda rng: Drip(_either(rng), 0.05, rng.randrange(10, 150))),
    ("connections are refused", lambda _: Refuse()),
    ("all is delivered twice", lambda rng: Duplicate(rng.uniform(0.0, 2.0))),
    ("bits flip", lambda rng: Flip(_either(rng), rng.randrange(8 * WITHIN_BYTES))),
    ("jitter", lambda rng: Jitter(rng.uniform(0.2, 1.5))),
)

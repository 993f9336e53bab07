"""What a campaign counts, and the cases that broke a promise."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

_PACED = ("cuts", "crash points")


class Broken(msgspec.Struct, frozen=True):
    """One broken promise, and the case that shows it again."""

    case: str
    detail: str


class Tally(msgspec.Struct):
    """The figures of one campaign. `counts` says what was tried, by kind."""

    name: str
    counts: Counter[str] = msgspec.field(default_factory=Counter)
    acked: int = 0
    lost: int = 0
    broken: list[Broken] = []
    seconds: float = 0.0

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Add the time inside to `seconds`."""
        began_s = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - began_s

    def __str__(self) -> str:
        counted = ", ".join(f"{count:,} {kind}" for kind, count in self.counts.items()) or "nothing"
        pace = ", ".join(
            f"{self.counts[kind] / self.seconds:,.0f} {kind}/s" for kind in _PACED if kind in self.counts
        )
        return (
            f"{self.name}: {counted}; {self.acked:,} acked, {self.lost:,} lost, {len(self.broken):,} broken"
            f" promises; {self.seconds:.0f} s, {pace}"
        )

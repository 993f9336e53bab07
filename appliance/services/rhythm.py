"""The shop's rhythm: while its tills sell or do what needs head office it is active, some time later it is idle.

Sales travel at once whatever the rhythm; it decides how often the box does what is not urgent. Nothing wakes up for
it: who does something now and then asks before it rests.
"""

from collections.abc import Callable

from appliance.runtime.clock import Clock
from appliance.services.operations import Operations
from appliance.services.selling import Selling


def done_for_tills(selling: Selling, operations: Operations) -> int:
    """How often tills were served since the start: sales and operations, whatever the answer was."""
    sales, asked = selling.counts, operations.counts
    sold = sales.accepted + sales.replayed + sales.conflicting
    return sold + asked.passed + asked.refused + asked.rejected + asked.unknown


class Rhythm:
    """Knows from a count that grows with all that tills do. A box that has just started is active."""

    def __init__(self, done: Callable[[], int], clock: Clock, idle_after_s: float) -> None:
        self._done = done
        self._clock = clock
        self._idle_after_s = idle_after_s
        self._seen = done()
        self._seen_s = clock.monotonic()

    @property
    def active(self) -> bool:
        """Whether anything was done lately, as far as was noticed: at the latest when this is asked."""
        return self.quiet_s < self._idle_after_s

    @property
    def quiet_s(self) -> float:
        """How long nothing was done, at most: what was done is noticed at the latest when this is asked."""
        done, now_s = self._done(), self._clock.monotonic()
        if done != self._seen:
            self._seen, self._seen_s = done, now_s
        return now_s - self._seen_s

    def choose(self, active_s: float, idle_s: float) -> float:
        """How long to rest now."""
        return active_s if self.active else idle_s

"""Token buckets: so many a second for each caller, and so many at once after a rest."""

from collections import OrderedDict
from typing import NamedTuple

from appliance.domain.errors import TooMany
from appliance.runtime.clock import Clock

# Whoever has not been heard for longest is forgotten: his bucket was full again, or the flood has many sources.
BUCKETS_MAX = 4_096


class Rate(NamedTuple):
    """So many a second, and so many at once after a rest."""

    per_s: float
    burst: float


class Buckets:
    """What each caller has left right now."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # What was left, and when that was.
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str, rate: Rate) -> None:
        """One request of a caller. Raises TooMany, which says when to come back."""
        now_s = self._clock.monotonic()
        left, since_s = self._left.pop(caller, (rate.burst, now_s))
        left = min(rate.burst, left + (now_s - since_s) * rate.per_s)
        granted = left >= 1.0
        self._left[caller] = (left - granted, now_s)
        if len(self._left) > BUCKETS_MAX:
            self._left.popitem(last=False)
        if not granted:
            raise TooMany(retry_after_s=round((1.0 - left) / rate.per_s, 3))

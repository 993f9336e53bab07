"""How much one caller may ask: token buckets, by paired till and by address."""

from collections import OrderedDict
from typing import NamedTuple

from appliance.config import Limits
from appliance.domain.errors import TooMany
from appliance.runtime.clock import Clock
from appliance.runtime.guard import place_of
from appliance.runtime.serving import LOOPBACK

# Whoever has not been heard for longest is forgotten: his bucket was full again, or the flood has many sources.
BUCKETS_MAX = 4_096


class Rate(NamedTuple):
    """So many a second, and so many at once after a rest."""

    per_s: float
    burst: float


class Rates:
    """What each caller has left right now."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._clock = clock
        self._till = Rate(limits.per_till_per_s, limits.per_till_burst)
        self._unpaired = Rate(limits.unpaired_per_s, limits.unpaired_burst)
        self._pairing = Rate(limits.pairing_per_s, limits.pairing_burst)
        # What was left, and when that was.
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admit_till(self, till: str) -> None:
        """A request of a paired till. Raises TooMany."""
        self._take(f"till {till}", self._till)

    def admit_stranger(self, remote: str) -> None:
        """A request of whoever is at this address, who has shown no good token. Raises TooMany."""
        if remote not in LOOPBACK:
            self._take(f"address {place_of(remote)}", self._unpaired)

    def admit_pairing(self, remote: str) -> None:
        """A try to pair, or to claim the box. Raises TooMany."""
        if remote not in LOOPBACK:
            self._take(f"pairing {place_of(remote)}", self._pairing)

    def _take(self, caller: str, rate: Rate) -> None:
        now_s = self._clock.monotonic()
        left, since_s = self._left.pop(caller, (rate.burst, now_s))
        left = min(rate.burst, left + (now_s - since_s) * rate.per_s)
        granted = left >= 1.0
        self._left[caller] = (left - granted, now_s)
        if len(self._left) > BUCKETS_MAX:
            self._left.popitem(last=False)
        if not granted:
            raise TooMany(retry_after_s=round((1.0 - left) / rate.per_s, 3))

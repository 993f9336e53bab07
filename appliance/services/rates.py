"""How much one caller may ask of the box: by paired till and by address."""

from appliance.config import Limits
from appliance.runtime.clock import Clock
from appliance.runtime.guard import place_of
from appliance.runtime.rates import Buckets, Rate
from appliance.runtime.serving import LOOPBACK


class Rates:
    """What each caller has left right now."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._till = Rate(limits.per_till_per_s, limits.per_till_burst)
        self._unpaired = Rate(limits.unpaired_per_s, limits.unpaired_burst)
        self._pairing = Rate(limits.pairing_per_s, limits.pairing_burst)
        self._buckets = Buckets(clock)

    def admit_till(self, till: str) -> None:
        """A request of a paired till. Raises TooMany."""
        self._buckets.take(f"till {till}", self._till)

    def admit_stranger(self, remote: str) -> None:
        """A request of whoever is at this address, who has shown no good token. Raises TooMany."""
        if remote not in LOOPBACK:
            self._buckets.take(f"address {place_of(remote)}", self._unpaired)

    def admit_pairing(self, remote: str) -> None:
        """A try to pair, or to claim the box. Raises TooMany."""
        if remote not in LOOPBACK:
            self._buckets.take(f"pairing {place_of(remote)}", self._pairing)

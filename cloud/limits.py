"""How often one address may ask for what is open to all: who head office is, an enrolment, a renewal.

Each of these costs signatures or the database, and needs no proof before. Whoever is let in is not counted here.
"""

from appliance.runtime.clock import Clock
from appliance.runtime.guard import place_of
from appliance.runtime.rates import Buckets, Rate
from appliance.runtime.serving import LOOPBACK
from cloud.client_cert import plain_address
from cloud.config import Settings


class Strangers:
    """What each address has left right now."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._rate = Rate(settings.strangers_per_s, settings.strangers_burst)
        # All boxes come from a proxy's address: it has to count them itself.
        self._uncounted = LOOPBACK | {plain_address(proxy) for proxy in settings.proxies}
        self._buckets = Buckets(clock)

    def admit(self, remote: str) -> None:
        """A request from this address. Raises TooMany."""
        address = plain_address(remote)
        if address not in self._uncounted:
            self._buckets.take(place_of(address), self._rate)

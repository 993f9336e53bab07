"""Who is asking, and how many tills were here lately."""

import hashlib

from appliance.domain.errors import Unauthenticated
from appliance.runtime.clock import Clock
from appliance.runtime.serving import LOOPBACK
from appliance.services.ports import Tills

# A till that said nothing for this long is not counted as present.
SEEN_S = 300.0
# The box's own commands, when they ask the running daemon.
CONSOLE = "console"


class Presence:
    """Identify tills by their tokens."""

    def __init__(self, tills: Tills, clock: Clock) -> None:
        self._tills = tills
        self._clock = clock
        self._seen_s: dict[str, float] = {}

    async def identify(self, authorization: str | None, certificate: str | None, remote: str) -> str:
        """The till behind an Authorization header, on a connection that showed this certificate (its hash).

        The box's own commands come from the box alone. Raises Unauthenticated, whatever is wrong.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated
        digest = hashlib.sha256(token.encode(errors="replace")).hexdigest()
        till = self._tills.who(digest, certificate)
        if till is None:
            await self._tills.refresh()
            till = self._tills.who(digest, certificate)
        if till is None or (till == CONSOLE and remote not in LOOPBACK):
            raise Unauthenticated
        self._seen_s[till] = self._clock.monotonic()
        return till

    def count(self) -> int:
        """How many paired tills asked for anything within the last five minutes; the box's own commands are none."""
        since_s = self._clock.monotonic() - SEEN_S
        return sum(seen_s >= since_s for till, seen_s in self._seen_s.items() if till != CONSOLE)

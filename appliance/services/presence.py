"""Who is asking, and how many tills were here lately."""

import hashlib
import logging

from appliance.domain.errors import Unauthenticated
from appliance.runtime.clock import Clock
from appliance.runtime.serving import LOOPBACK
from appliance.services.ports import Tills

log = logging.getLogger(__name__)

# A till that said nothing for this long is not counted as present.
SEEN_S = 300.0
# The box's own commands, when they ask the running daemon.
CONSOLE = "console"


class Presence:
    """Identify tills by their tokens."""

    def __init__(self, tills: Tills, clock: Clock, *, bound: bool = False) -> None:
        """`bound`: tokens that are bound to no key are the box's own commands', and nobody else's."""
        self._tills = tills
        self._bound = bound
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
        if till is None and not self._bound:
            # Beside a daemon without TLS another program pairs tills.
            await self._tills.refresh()
            till = self._tills.who(digest, certificate)
        if till is None or not self._may(till, certificate, remote):
            raise Unauthenticated
        if self._tills.unused(digest):
            await self._note_use(digest)
        self._seen_s[till] = self._clock.monotonic()
        return till

    def seen_s(self, till: str) -> float | None:
        """How long ago a till asked for anything; None: not since this program started."""
        at_s = self._seen_s.get(till)
        return None if at_s is None else round(self._clock.monotonic() - at_s, 3)

    def count(self) -> int:
        """How many paired tills asked for anything within the last five minutes; the box's own commands are none."""
        since_s = self._clock.monotonic() - SEEN_S
        return sum(seen_s >= since_s for till, seen_s in self._seen_s.items() if till != CONSOLE)

    def _may(self, till: str, certificate: str | None, remote: str) -> bool:
        if till == CONSOLE:
            return remote in LOOPBACK
        return certificate is not None or not self._bound

    async def _note_use(self, digest: str) -> None:
        try:
            await self._tills.mark_used(digest)
        except OSError as error:  # a full disk keeps nobody from selling; the next request notes it
            log.warning("till.use_unnoted", extra={"why": str(error)})

"""Tell the box how it was found, and whether multicast reaches it: only its tills can see that from outside."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from appliance.domain.pairing import Observation
from appliance.runtime.clock import Clock
from appliance.runtime.pause import pause
from till.box import Box
from till.discovery import browsing
from till.errors import NoAnswer, Refused
from till.identity import TillKeys
from till.report import Rung

log = logging.getLogger(__name__)

OBSERVE_EVERY_S = 600.0
SEARCH_S = 3.0


class Observing:
    """Looks in the background; a till that is looking for its box has better things to do, and does not."""

    def __init__(
        self,
        keys: TillKeys,
        found_by: Callable[[], Rung],
        box: Callable[[], Box | None],
        interfaces: Sequence[str],
        clock: Clock,
    ) -> None:
        self._keys = keys
        self._found_by = found_by
        self._box = box
        self._interfaces = interfaces
        self._clock = clock
        self._wake = asyncio.Event()
        self._just_met = False

    def met(self) -> None:
        """The box was found just now."""
        self._just_met = True
        self._wake.set()

    async def run(self) -> None:
        """At each new connection, and now and then."""
        while True:
            await pause(self._clock, OBSERVE_EVERY_S, self._wake)
            await self.observe()

    async def observe(self) -> None:
        """Look once, and tell the box."""
        if (box := self._box()) is None:
            return
        found_by, just_met = self._found_by(), self._just_met
        self._just_met = False
        seen = (just_met and found_by == "mdns") or await self._seen()
        try:
            await box.observed(Observation("seen" if seen else "unseen", found_by))
        except (NoAnswer, Refused) as error:
            log.info("observation.untold", extra={"error": str(error)})

    async def _seen(self) -> bool:
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(SEARCH_S), browsing(self._interfaces) as boxes:
                while (await boxes.get()).box != self._keys.paired.box:
                    pass
                return True
        return False

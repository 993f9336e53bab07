"""Tell systemd that the box lives, as long as work gets through it: the answer to `WatchdogSec=` (systemd.service(5)).

No timer of its own: the sign of life is that a look at the disk (services/disk.py) has come back. For that the event
loop had to wake up for it, the journal's thread to take it between two commits, and the card to read a page. While any
of the three is stuck no look comes back, nothing is told, and systemd ends the process.

A loop that turns, but so slowly that no till would wait for it, is stuck as well.
"""

import logging
from collections.abc import Callable

from appliance.runtime.clock import Clock

log = logging.getLogger(__name__)

# How often a box says so that has no journal yet.
EVERY_S = 10.0
# Tills give up after a few seconds. One late look costs nothing: two in a row are needed for the watchdog to bite.
LATE_MAX_S = 2.0


class Liveness:
    """Hears of each look, and hands the sign of life to `tell`."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def looked(self, late_s: float) -> None:
        """A look has come back; the loop was that late for it."""
        if late_s > LATE_MAX_S:
            log.warning("liveness.late", extra={"late_s": round(late_s, 3)})
            return
        self._tell("WATCHDOG=1")

    async def turn(self, clock: Clock) -> None:
        """Give the sign for ever, as long as the loop turns: for an unclaimed box, which has no journal yet."""
        while True:
            due_s = clock.monotonic() + EVERY_S
            await clock.sleep(EVERY_S)
            self.looked(clock.monotonic() - due_s)

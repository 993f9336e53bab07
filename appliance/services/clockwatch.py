"""Notice that the wall clock was stepped: by NTP, by a technician, or by a card that woke up in another year.

Nothing hangs on the wall clock: order is `seq`, waits are monotonic, a sale is known by its id. The event is for those
who read the journal later and wonder about `at`. It costs one wake-up a minute.
"""

import logging

from appliance.domain.errors import CannotAccept
from appliance.runtime.clock import Clock, rfc3339
from appliance.services.ports import Recorder

log = logging.getLogger(__name__)

LOOK_EVERY_S = 60.0
# Far above what clocks drift in a minute, and below what confuses anybody who reads a day's sales.
STEP_S = 60.0


class ClockWatch:
    """The loop that compares the wall clock with the monotonic one."""

    def __init__(self, clock: Clock, recorder: Recorder) -> None:
        self._clock = clock
        self._recorder = recorder
        self._lead_s = self._lead()

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self._clock.sleep(LOOK_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Record a step since the last look."""
        before_s, self._lead_s = self._lead_s, self._lead()
        by_s = round(self._lead_s - before_s, 3)
        if abs(by_s) <= STEP_S:
            return
        data = {"by_s": by_s, "to": rfc3339(self._clock.wall())}
        log.warning("clock.stepped", extra=data)
        try:
            await self._recorder.record("clock_stepped", data)
        except CannotAccept as error:
            log.error("clock.unrecorded", extra={"why": str(error)})

    def _lead(self) -> float:
        return self._clock.wall().timestamp() - self._clock.monotonic()

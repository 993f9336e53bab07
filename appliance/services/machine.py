"""Look at the machine's wear and power now and then: for the status, the heartbeat and the issues."""

import asyncio

from appliance.domain.health import MachineView
from appliance.domain.wear import Written, view, wear_issues
from appliance.runtime.clock import Clock
from appliance.services.ports import Board

# Nothing of it changes by the minute, and nobody wakes up for it more often than needed.
LOOK_EVERY_S = 600.0


class MachineWatch:
    """`view` as of the last look. `written_day_max`: bytes a day that the card may be written.

    `serving`: whether this is the service of a machine that is a box. A desk, or a test, has no issue with its disk.
    """

    def __init__(self, board: Board, clock: Clock, written_day_max: int, *, serving: bool) -> None:
        self._board = board
        self._clock = clock
        self._written_day_max = written_day_max
        self._serving = serving
        self._written = Written()
        self.view = MachineView()

    def issues(self) -> list[str]:
        """What a person should look at."""
        return wear_issues(self.view, self._written_day_max) if self._serving else []

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await self._clock.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """One look."""
        reading = await asyncio.to_thread(self._board.read)
        # The monotonic clock counts from the boot, as the disk's counter does (clock_gettime(2)).
        self.view = view(reading, self._written, self._clock.monotonic())

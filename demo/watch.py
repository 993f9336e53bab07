"""How box and head office are right now, asked twice a second; the last answers stand until the next."""

from collections.abc import Callable

from appliance.domain.wire import EpochRow, Status
from appliance.runtime.clock import Clock
from demo.books import Reader, Unread

EVERY_S = 0.5


class Watch:
    """Keeps looking. `box` reads the box where it is now: a restart moves it."""

    def __init__(self, box: Callable[[], Reader], office: Reader, clock: Clock) -> None:
        self._box = box
        self._office = office
        self._clock = clock
        self.status: Status | None = None
        self.answers = False
        self.epochs: list[EpochRow] = []

    @property
    def drained(self) -> bool:
        """Whether the box said, when last asked, that head office has all it has."""
        return self.answers and self.status is not None and self.status.journal.backlog == 0

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await self._clock.sleep(EVERY_S)

    async def look(self) -> None:
        """Ask both once. A box that does not answer is shown as such; head office keeps its last word."""
        try:
            self.status = await self._box().status()
            self.answers = True
        except Unread:
            self.answers = False
        if self.status is None:
            return
        try:
            self.epochs = await self._office.epochs(self.status.box)
        except Unread:
            return

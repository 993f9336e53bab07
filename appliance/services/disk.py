"""Watch the room on the card: who fills it must stop before sales do, and a full one must still be able to say so.

    ample ──below `download_floor`──▶ low: no catalogue and no update is fetched any more
      ▲                                │
      │                          below `floor`, or the database found no room
      │                                ▼
      └──room for the ballast──── full: the ballast is let go, new sales are refused (507), the issue is told

What the ballast gave back is not for selling on: it is for what is in hand, for a checkpoint, and for the event that
tells of it. So `full` ends only once the ballast could be taken again, with the floor still free beside it.

Each look is a sign of life too (services/liveness.py): it goes through the journal's thread, and reads from the card.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance.domain.errors import CannotAccept, DiskFull
from appliance.runtime.ballast import Ballast
from appliance.runtime.clock import Clock
from appliance.runtime.files import read_past_cache
from appliance.runtime.pause import pause
from appliance.storage.journal import Journal
from appliance.storage.set_aside import numbers_aside

log = logging.getLogger(__name__)

# A busy shop writes about 1 MB in this time: far less than the floor.
LOOK_EVERY_S = 10.0
# Somebody is at work on a full card, or a customer waits: look sooner.
LOOK_FULL_S = 2.0
RETRY_AFTER_S = 10


@dataclass(frozen=True, slots=True)
class Floors:
    """Free bytes below which nothing is fetched any more that can wait, and below which no sale is accepted."""

    download: int
    sales: int


class DiskWatch:
    """`full` and `low` as of the last look; `asides` are the numbers of the journals that were set aside.

    `looked` hears after each look of the loop how many seconds late the loop was for it.
    """

    def __init__(
        self,
        journal: Journal,
        path: Path,
        ballast: Ballast,
        floors: Floors,
        clock: Clock,
        looked: Callable[[float], None] = lambda _late_s: None,
    ) -> None:
        self._journal = journal
        self._path = path
        self._ballast = ballast
        self._floors = floors
        self._clock = clock
        self._looked = looked
        self._refused = 0
        self.free_bytes = 0
        self.full = False
        self.low = False
        self.asides: list[int] = []

    def admit(self) -> None:
        """Raises DiskFull while no new sale may come in."""
        if self.full:
            raise DiskFull("the box's storage is full", retry_after_s=RETRY_AFTER_S)

    def admit_download(self) -> None:
        """Raises DiskFull while nothing may be fetched that can be fetched later."""
        if self.low:
            raise DiskFull("too little room to fetch what can be fetched later")

    def admit_bundle(self, more_bytes: int) -> None:
        """Raises DiskFull while so much more would leave less than downloads must."""
        if self.low or self.free_bytes - more_bytes < self._floors.download:
            raise DiskFull("too little room to fetch an update")

    async def run(self) -> None:
        """Look for ever; at once when the database found no room."""
        late_s = 0.0
        while True:
            await self.look()
            self._looked(late_s)
            rest_s = LOOK_FULL_S if self.full else LOOK_EVERY_S
            due_s = self._clock.monotonic() + rest_s
            await pause(self._clock, rest_s, self._journal.out_of_room)
            late_s = self._clock.monotonic() - due_s

    async def look(self) -> None:
        """One look, and what follows from it."""
        refused = self._journal.refused_for_room > self._refused
        self._refused, was_full = self._journal.refused_for_room, self.full
        ample = await self._journal.visit(self._glance)
        if refused or self.full or not ample:
            # What gives blocks back or takes them may take its time: sales do not wait for it.
            await asyncio.to_thread(self._weigh, refused)
        if self.full == was_full:
            return
        log.error("disk.full" if self.full else "disk.recovered", extra={"free_bytes": self.free_bytes})
        try:
            if self.full:
                await self._journal.record("disk_full", {"free_bytes": self.free_bytes})
            else:
                await self._journal.record("disk_recovered", {"free_bytes": self.free_bytes})
        except CannotAccept as error:
            log.error("disk.unrecorded", extra={"why": str(error)})

    def _glance(self) -> bool:
        """Whether there is room for everything and the ballast is there, as nearly always."""
        read_past_cache(self._path)
        self.free_bytes = self._ballast.free_bytes()
        self.asides = numbers_aside(self._path)
        self.low = self.free_bytes < self._floors.download
        return self._ballast.held() and self.free_bytes >= self._floors.sales

    def _weigh(self, refused: bool) -> None:
        ballast, floor = self._ballast, self._floors.sales
        if refused or ballast.free_bytes() < floor:
            make_room(ballast)
        free = ballast.free_bytes()
        full = refused or free < floor + (ballast.size if ballast.spent() else 0)
        if not full and free >= floor + ballast.size:
            ballast.hold()  # at the first start there may be no room for it: then it is taken when there is
        self.full, self.free_bytes = full, ballast.free_bytes()
        self.low = full or self.free_bytes < self._floors.download


def make_room(ballast: Ballast) -> None:
    """Let the ballast go, if it is there. Blocks."""
    if ballast.held():
        ballast.let_go()


def make_room_to_start(ballast: Ballast, floors: Floors) -> None:
    """The same before anything is opened: on a full disk not even a journal could be. Blocks."""
    if ballast.free_bytes() < floors.sales:
        make_room(ballast)

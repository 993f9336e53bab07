"""Keep the till's catalogue at the version that the box has."""

import asyncio
import logging
import random
from collections.abc import Callable

from appliance.domain.errors import Malformed, SnapshotRequired
from appliance.domain.link import Cause
from appliance.runtime.clock import Clock
from till.box import Box
from till.catalogue import Catalogue
from till.errors import NoAnswer, Refused
from till.pace import for_ever
from till.report import CatalogueApplied, Tell

log = logging.getLogger(__name__)

BACK_OFF_BASE_S, BACK_OFF_CAP_S = 1.0, 60.0


class Refresh:
    """The loop that fetches. Prices of tickets come from what is there; nobody waits for it."""

    def __init__(
        self,
        catalogue: Catalogue,
        box: Callable[[], Box | None],
        tell: Tell,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._catalogue = catalogue
        self._box = box
        self._tell = tell
        self._clock = clock
        self._rng = rng
        self._offer = asyncio.Event()
        self._offered = 0

    def offered(self, version: int) -> None:
        """The box has this version; 0: none yet."""
        if version and version != self._catalogue.version:
            self._offered = version
            self._offer.set()

    async def run(self) -> None:
        """Fetch what is offered, for ever. Returns only when cancelled."""
        while True:
            await self._offer.wait()
            self._offer.clear()
            retrying = for_ever(
                self._clock.sleep, self._rng, on=NoAnswer, base_s=BACK_OFF_BASE_S, cap_s=BACK_OFF_CAP_S
            )
            await retrying(self.fetch)

    async def fetch(self) -> None:
        """Take changes, or a snapshot when they do not fit. Raises NoAnswer: try again."""
        if self._offered == self._catalogue.version:
            return
        try:
            try:
                version = await self._take(self._catalogue.version)
            except SnapshotRequired:
                version = await self._take(None)
        except Malformed as error:
            log.warning("catalogue.malformed", extra={"error": str(error)})
            raise NoAnswer(str(error), cause=Cause.LOSSY, in_doubt=False) from error
        self._tell(CatalogueApplied(version))

    async def _take(self, since: int | None) -> int:
        box = self._box()
        if box is None:
            raise NoAnswer("no box found yet", cause=Cause.NO_ANSWER, in_doubt=False)
        try:
            transfer = await box.catalogue(since)
        except Refused as error:
            if error.problem_code == SnapshotRequired.code:
                raise SnapshotRequired from error
            raise NoAnswer(str(error), cause=Cause.REFUSED, in_doubt=False) from error
        return await self._catalogue.apply(transfer)

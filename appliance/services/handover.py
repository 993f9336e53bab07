"""What is fetched goes over to the root units, one request at a time, and only when the shop may be disturbed.

Two moments disturb: writing the other slot keeps the card busy for minutes, and the restart takes the box away for one.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Literal, NamedTuple

from appliance.domain.update import Offer, Request, State, Window, may_disturb
from appliance.runtime.clock import Clock
from appliance.storage.update_files import UpdateFiles, UpdateRecords

log = logging.getLogger(__name__)


class Manners(NamedTuple):
    """When the shop may be disturbed (domain/update.py)."""

    idle_s: float
    window: Window | None


class Handover:
    """Asks the root units by a file, and reads from theirs how far they are."""

    def __init__(
        self,
        files: UpdateFiles,
        records: UpdateRecords,
        clock: Clock,
        manners: Manners,
        quiet_s: Callable[[], float],
    ) -> None:
        self._files = files
        self._records = records
        self._clock = clock
        self._manners = manners
        self._quiet_s = quiet_s

    async def go_on(self, offer: Offer) -> State:
        """Ask for the next step of a bundle that is here, if this is the moment; how far it is. Raises OSError."""
        request = await asyncio.to_thread(self._files.request)
        if request is not None and request.number == offer.number:
            return "installing" if request.do == "install" else "restarting"
        attempt = await asyncio.to_thread(self._records.attempt)
        if attempt is None or (attempt.number, attempt.sha256) != (offer.number, offer.sha256):
            return await self._ask("install", offer)
        if attempt.phase == "installed":
            return await self._ask("restart", offer)
        if attempt.phase == "installing" and attempt.boot != self._clock.reading().boot:
            return await self._ask("install", offer)  # the power went while it was written
        return attempt.phase

    async def _ask(self, do: Literal["install", "restart"], offer: Offer) -> State:
        if not self._may_disturb():
            return "fetched" if do == "install" else "installed"
        request = Request(do, offer.number, offer.version, offer.sha256)
        await asyncio.to_thread(self._files.ask, request)
        log.info("update.asked", extra={"do": do, "number": offer.number, "version": offer.version})
        return "installing" if do == "install" else "restarting"

    def _may_disturb(self) -> bool:
        local = self._clock.wall().astimezone()
        trusted = self._clock.reading().quality == "synced"
        minute = local.hour * 60 + local.minute if trusted else None
        return may_disturb(self._quiet_s(), self._manners.idle_s, self._manners.window, minute)

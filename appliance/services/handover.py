"""What is fetched goes over to the root units, one request at a time, and only when the shop may be disturbed.

Two moments disturb: writing the other slot keeps the card busy for minutes, and the restart takes the box away for one.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Literal, NamedTuple

from appliance.domain.update import Attempt, Offer, Request, State, Window, may_disturb
from appliance.runtime.clock import Clock
from appliance.storage.update_files import UpdateFiles, UpdateRecords

log = logging.getLogger(__name__)

# RAUC's own service may write on for as long as a root unit waits for it (gateways/rauc.py), also for one that was
# killed.
AGAIN_S = 3_600.0


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
        self._left_s: float | None = None

    async def go_on(self, offer: Offer) -> State:
        """Ask for the next step of a bundle that is here, if this is the moment; how far it is. Raises OSError."""
        request = await asyncio.to_thread(self._files.request)
        if request is not None and request.number == offer.number:
            return "installing" if request.do == "install" else "restarting"
        # A root unit is at work before the request goes. While none is, nobody changes what is on record.
        at_work = await asyncio.to_thread(self._records.at_work)
        attempt = await asyncio.to_thread(self._records.attempt)
        if attempt is not None and (attempt.number, attempt.sha256) != (offer.number, offer.sha256):
            attempt = None
        if at_work:
            self._left_s = None
            return "installing" if attempt is None else attempt.phase
        if attempt is None:
            return await self._ask("install", offer)
        if attempt.phase == "installed":
            return await self._ask("restart", offer)
        if attempt.phase == "installing" and self._may_begin_again(attempt):
            return await self._ask("install", offer)
        return attempt.phase

    def _may_begin_again(self, attempt: Attempt) -> bool:
        """Whether a slot that was left half-written may be begun again by now."""
        if attempt.boot != self._clock.reading().boot:
            return True  # the power went, and RAUC with it
        now_s = self._clock.monotonic()
        if self._left_s is None:
            log.warning("update.left_half_way", extra={"number": attempt.number, "tries": attempt.tries})
            self._left_s = now_s
        return now_s - self._left_s >= AGAIN_S

    async def _ask(self, do: Literal["install", "restart"], offer: Offer) -> State:
        if not self._may_disturb():
            return "fetched" if do == "install" else "installed"
        request = Request(do, offer.number, offer.version, offer.sha256)
        await asyncio.to_thread(self._files.ask, request)
        self._left_s = None
        log.info("update.asked", extra={"do": do, "number": offer.number, "version": offer.version})
        return "installing" if do == "install" else "restarting"

    def _may_disturb(self) -> bool:
        local = self._clock.wall().astimezone()
        trusted = self._clock.reading().quality == "synced"
        minute = local.hour * 60 + local.minute if trusted else None
        return may_disturb(self._quiet_s(), self._manners.idle_s, self._manners.window, minute)

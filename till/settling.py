"""Bring what is still here to where it belongs, for as long as it takes, and hear when the cloud holds it.

Each round tries every pending copy, so one that a peer cannot digest holds up no other. Sending again never doubles a
sale: the id is the same, and so are the bytes.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from typing import Any

from appliance.domain.canonical import canonical
from appliance.domain.wire import SyncedView
from appliance.runtime.clock import Clock
from appliance.runtime.pause import pause
from till.box import Box
from till.copy import Copies, Copy
from till.delivery import Delivery
from till.errors import NoAnswer, Refused
from till.pace import for_ever
from till.refusals import tell_refusal
from till.report import Delivered, Lost, RolledBack, Synced, Tell
from till.sentences import Lang
from till.ways import Ways

log = logging.getLogger(__name__)

BACK_OFF_BASE_S, BACK_OFF_CAP_S = 0.5, 30.0


class StillWaiting(Exception):
    """A round ended with copies that nobody took, or that the box was not asked for to the end."""


class Settling:
    """The loop that settles copies, all but the one that is `in_hand` at the counter."""

    def __init__(
        self,
        copies: Copies,
        delivery: Delivery,
        ways: Ways,
        in_hand: Callable[[], str | None],
        tell: Tell,
        lang: Lang,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._copies = copies
        self._delivery = delivery
        self._ways = ways
        self._in_hand = in_hand
        self._tell = tell
        self._lang = lang
        self._clock = clock
        self._rng = rng
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._met: Box | None = None
        self._meetings = 0  # a check counts only for what was known when it began
        self._last_met: Box | None = None
        self._heard: tuple[str, SyncedView] | None = None

    def sold(self, copy: Copy) -> None:
        """A ticket is done: if nobody took it, or its news came before it, do not wait for the next round."""
        if copy.state == "pending" or self._covered(copy):
            self._wake.set()

    def met(self, box: Box) -> None:
        """A box was just met: it is asked for what it accepted, and brought what is still here."""
        self._met = self._last_met = box
        self._meetings += 1
        self._wake.set()

    async def run(self) -> None:
        """Settle, for ever. Returns only when cancelled."""
        while True:
            retrying = for_ever(
                self._pause, self._rng, on=StillWaiting, base_s=BACK_OFF_BASE_S, cap_s=BACK_OFF_CAP_S
            )
            await retrying(self.round)
            await self._wake.wait()
            self._wake.clear()

    async def round(self) -> None:
        """Try every pending copy once, oldest first. Raises StillWaiting when one is left, or a question to the box."""
        meeting = self._meetings
        if (box := self._met) is not None and await self._check(box) and self._meetings == meeting:
            self._met = None
        left = self._met is not None
        for copy in await self._copies.in_state("pending"):
            if copy.sale_id == self._in_hand():
                left = True
                continue
            result = await self._delivery.deliver(copy, self._ways.behind_it())
            self._ways.learn_behind(result)
            left |= result.copy.state == "pending"
            self._told(result.copy, result.refusal_members)
            if result.copy.state == "pending" and all(
                isinstance(e, NoAnswer) for e in result.failures.values()
            ):
                break  # nobody answers: the others would only wait in line
        await self._apply_heard()
        if left:
            raise StillWaiting

    async def _check(self, box: Box) -> bool:
        """Show the box the last head that it signed for us, and ask it for everything it accepted.

        What it no longer knows becomes pending again. False: no answer.
        """
        if not await self._show(box):
            return False
        for copy in await self._copies.in_state("accepted"):
            try:
                view = await box.look_up(copy.sale_id)
            except (NoAnswer, Refused):
                return False  # the next round asks again
            if view is None:
                await self._copies.lost(copy.sale_id)
                self._tell(Lost(copy.sale_id, copy.ticket_number, copy.epoch, copy.seq))
            elif view.synced:
                self._synced([await self._copies.synced(copy.sale_id)])
            elif (view.ack.box, view.ack.epoch, view.ack.seq) != (copy.box, copy.epoch, copy.seq):
                await self._copies.accepted(view.ack, canonical(view.ack))
        return True

    async def _show(self, box: Box) -> bool:
        """Before anything is brought again: our sales must not hide from the box that it lost them."""
        head = await self._copies.witness(box.identity.box)
        if head is None:
            return True
        try:
            answer = await box.witness(head)
        except Refused as error:
            # A box of before this call, or one that cannot write it down now; it was shown what it lacks.
            log.warning("witness.refused", extra={"box": box.identity.box, "code": error.problem_code})
            return True
        except NoAnswer:
            return False
        if answer.rolled_back:
            self._tell(RolledBack(box.identity.box, answer.epoch, answer.seq))
        return True

    async def synced(self, box: str, view: SyncedView) -> None:
        """The box says how far the cloud has got."""
        before, self._heard = self._heard, (box, view)
        same = before is not None and (before[0], before[1].epoch) == (box, view.epoch)
        if not same and any(copy.epoch != view.epoch for copy in await self._copies.in_state("accepted")):
            # A new epoch after a rolled-back card: what stood at the end of the old one may stand elsewhere now, or be
            # in the cloud by now, which this news does not tell.
            self._met = self._last_met
            self._meetings += 1
            self._wake.set()
        await self._apply_heard()

    async def all_synced(self) -> None:
        """Return once no copy waits: each is in the cloud, or somebody must look at it."""
        while True:
            self._changed.clear()
            counts = await self._copies.counts()
            if not counts.get("pending") and not counts.get("accepted"):
                return
            await self._changed.wait()

    def _covered(self, copy: Copy) -> bool:
        # The box may tell that a sale is in the cloud while its ack is still on the way to our disk.
        if self._heard is None or copy.seq is None:
            return False
        box, view = self._heard
        return (copy.box, copy.epoch) == (box, view.epoch) and copy.seq <= view.seq

    async def _apply_heard(self) -> None:
        # A box that lost its end may have put other sales at the places of ours: only once it was asked for each of
        # them does its news count.
        if self._heard is not None and self._met is None:
            box, view = self._heard
            self._synced(await self._copies.synced_up_to(box, view.epoch, view.seq))
        self._changed.set()

    async def _pause(self, seconds: float) -> None:
        await pause(self._clock, seconds, self._wake)

    def _synced(self, copies: Sequence[Copy]) -> None:
        for copy in copies:
            self._tell(Synced(copy.sale_id, copy.ticket_number, copy.epoch, copy.seq))

    def _told(self, copy: Copy, members: dict[str, Any]) -> None:
        if copy.state in ("accepted", "synced"):
            self._tell(
                Delivered(copy.sale_id, copy.ticket_number, copy.state, copy.way, copy.epoch, copy.seq)
            )
        tell_refusal(copy, members, self._lang, self._tell)

"""Bring one copy to the cloud or to the box, and write down what came of it. The same bytes, whichever the way."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from appliance.domain.errors import OutcomeUnknown
from appliance.domain.link import Cause
from till.box import Box
from till.cloud import Cloud
from till.copy import Copies, Copy, Way
from till.errors import NoAnswer, Refused


class Delivered(msgspec.Struct, frozen=True):
    """What came of it: the copy as it stands now, and how each way answered that did not take it."""

    copy: Copy
    failures: dict[Way, NoAnswer | Refused] = {}

    @property
    def refusal_members(self) -> dict[str, Any]:
        """What the last peer that refused said, beside its code."""
        refusals = [error for error in self.failures.values() if isinstance(error, Refused)]
        return refusals[-1].members if refusals else {}


class Delivery:
    """Knows both ways. `box` gives the box where it was last seen; `box_silent` hears that it did not answer."""

    def __init__(
        self,
        copies: Copies,
        box: Callable[[], Box | None],
        cloud: Cloud | None,
        box_silent: Callable[[], None],
    ) -> None:
        self._copies = copies
        self._box = box
        self._cloud = cloud
        self._box_silent = box_silent

    async def deliver(self, copy: Copy, ways: Sequence[Way], *, first: bool = False) -> Delivered:
        """Try the ways in order until one takes the sale or refuses it for good; pending when none did.

        `first`: the copy has never been sent, whatever was noted beforehand.
        """
        failures: dict[Way, NoAnswer | Refused] = {}
        for way in ways:
            try:
                copy = await (self._to_cloud(copy, first) if way == "cloud" else self._to_box(copy))
            except NoAnswer as error:
                failures[way] = error
            except Refused as error:
                failures[way] = error
                if (settled := await self._settled(copy, error)) is not None:
                    return Delivered(settled, failures)
            else:
                return Delivered(copy, failures)
            copy = await self._copies.get(copy.sale_id)
        return Delivered(await self._copies.waiting(copy.sale_id, _why(copy, failures)), failures)

    async def _to_box(self, copy: Copy) -> Copy:
        box = self._box()
        if box is None:
            raise NoAnswer("no box found yet", cause=Cause.NO_ANSWER, in_doubt=False)
        try:
            acked = await box.sell(copy.sale_id, copy.body)
        except NoAnswer:
            self._box_silent()
            raise
        return await self._copies.accepted(acked.ack, acked.body)

    async def _to_cloud(self, copy: Copy, first: bool) -> Copy:
        assert self._cloud is not None  # ways without a cloud do not name it
        # Written before asking: after a crash in between, only this tells that the cloud may hold the sale.
        if not copy.asked_cloud:
            await self._copies.ask_cloud(copy.sale_id, True)
        try:
            answer = await self._cloud.sell(copy.sale_id, copy.body)
        except (NoAnswer, Refused) as error:
            if not error.in_doubt and (first or not copy.asked_cloud):
                await self._copies.ask_cloud(copy.sale_id, False)
            raise
        return await self._copies.synced(copy.sale_id, cloud_answer=answer)

    async def _settled(self, copy: Copy, error: Refused) -> Copy | None:
        """The copy after a refusal that ends its way; None when another way or another time may still take it."""
        copy = await self._copies.get(copy.sale_id)
        if error.online_only:
            # The cloud may hold it unsaid, or a box took it once and lost it: the ticket is out, and no longer ours to
            # withdraw. Asking again will tell.
            if copy.asked_cloud or copy.seq is not None:
                return None
            return await self._copies.withdrawn(copy.sale_id, error.problem_code)
        return await self._copies.refused(copy.sale_id, error.problem_code) if error.final else None


def _why(copy: Copy, failures: dict[Way, NoAnswer | Refused]) -> str:
    """Why the copy is still pending, as a code: what the last way said."""
    last = next(reversed(failures.values()), None)
    if not isinstance(last, Refused):
        return NoAnswer.code
    if copy.asked_cloud and last.online_only:
        return OutcomeUnknown.code
    return last.problem_code

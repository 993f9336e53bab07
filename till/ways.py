"""Which way comes first, and the counter where tickets are made one after another.

Holds the mode (`till/modes.py` decides): proposals are heard at any time, changes happen only between two tickets.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from appliance.domain.link import Cause
from appliance.domain.sale import Mode
from appliance.domain.wire import ModeView
from appliance.runtime.clock import Clock
from till import modes
from till.box import Box
from till.copy import Way
from till.delivery import Delivered
from till.errors import NoAnswer, Refused
from till.report import ModeChanged, Proposal, Tell


class Ways:
    """The cloud and the box, in the order in which a till asks them."""

    def __init__(self, box: Callable[[], Box | None], *, two_ways: bool, tell: Tell, clock: Clock) -> None:
        self._box = box
        self._tell = tell
        self._clock = clock
        self._modes = modes.begin(two_ways=two_ways)
        self._counter = asyncio.Lock()

    @property
    def mode(self) -> Mode:
        """The mode in force."""
        return self._modes.mode

    def at_the_counter(self) -> Sequence[Way]:
        """Whom to ask with a ticket in hand, in order: no customer waits for a cloud that is known to be silent."""
        return ("cloud", "box") if self.mode == "cloud" else ("box",)

    def behind_it(self) -> Sequence[Way]:
        """Whom to ask with a sale that is kept here, in order: both ways, since nobody waits."""
        if not self._modes.two_ways:
            return ("box",)
        return ("cloud", "box") if self.mode == "cloud" else ("box", "cloud")

    @asynccontextmanager
    async def ticket(self) -> AsyncIterator[None]:
        """Have a ticket (or an operation) in hand: nobody else has one, and the mode stands still."""
        async with self._counter:
            self._between_tickets()
            try:
                yield
            finally:
                self._between_tickets()

    def proposed(self, view: ModeView) -> None:
        """The box proposes a mode; it is taken at once when no ticket is in hand, else right after it."""
        if view == self._modes.proposal:
            return
        self._modes = modes.heard(self._modes, view)
        self._tell(Proposal(view.mode, view.link, view.cause, view.changed_at))
        self._settle_if_free()

    async def learn(self, result: Delivered) -> None:
        """What the ticket in hand tells of the two ways."""
        if result.copy.state == "synced":
            self._modes = modes.cloud_worked(self._modes)
        elif self.mode == "cloud" and "cloud" in result.failures:
            await self.cloud_failed(result.failures["cloud"])

    def learn_behind(self, result: Delivered) -> None:
        """What a sale that was kept here tells: a cloud that takes it while the box is silent is the better way."""
        box_silent = isinstance(result.failures.get("box"), NoAnswer)
        if self.mode == "local" and result.copy.state == "synced" and box_silent:
            self._modes = modes.box_silent(self._modes)
            self._settle_if_free()

    async def cloud_failed(self, error: NoAnswer | Refused) -> None:
        """The cloud failed in cloud mode: ask the box why, and go local before the next ticket."""
        cause: str = error.cause if isinstance(error, NoAnswer) else error.problem_code
        if (box := self._box()) is not None:
            try:
                view = (await box.status()).mode
            except (NoAnswer, Refused):
                pass  # then what we saw ourselves has to do
            else:
                self.proposed(view)
                cause = cause if view.cause == Cause.OK else view.cause
        self._modes = modes.cloud_failed(self._modes, cause, self._clock.monotonic())

    def _settle_if_free(self) -> None:
        if not self._counter.locked():
            self._between_tickets()

    def _between_tickets(self) -> None:
        self._modes, change = modes.between_tickets(self._modes, self._clock.monotonic())
        if change is not None:
            self._tell(ModeChanged(change.old, change.new, change.cause, change.by))

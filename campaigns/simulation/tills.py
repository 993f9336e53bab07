"""A small, faithful till: makes tickets, keeps each until it is in the cloud, brings it again for as long as it takes.

The mode machine is the till's own (`till.modes`). Copies and ticket numbers survive its death, all else does not.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from appliance.domain.canonical import canonical
from appliance.domain.errors import (
    CannotAccept,
    CloudRefused,
    CloudUnreachable,
    NotFound,
    OnlineOnly,
    SaleConflict,
)
from appliance.domain.gate import BUILT_IN, operations_in
from appliance.domain.sale import Mode, Sale
from appliance.domain.wire import Ack, ModeView, SyncedView
from appliance.runtime.clock import Clock
from campaigns.simulation.box import Box, NoBox
from campaigns.simulation.line import Line
from campaigns.simulation.oracle import Oracle
from till import modes

State = Literal["pending", "accepted", "synced", "withdrawn"]

ANSWER_S = 5.0
LAN_S = (0.001, 0.02)
LOST_ACKS = 0.01
RETRY_S = (0.5, 30.0)


class NoAnswer(Exception):
    """The box did not answer this till in time."""


@dataclass(slots=True)
class Copy:
    """A sale as the till keeps it."""

    sale: Sale
    state: State = "pending"
    asked_cloud: bool = False
    place: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class Disk:
    """What outlives a till's death."""

    copies: dict[str, Copy] = field(default_factory=dict)
    tickets: int = 0
    # The furthest signed head that an ack brought, and its place.
    witness: tuple[tuple[int, int], bytes] = ((0, 0), b"")


class Till:
    """One life of a till on its disk."""

    def __init__(
        self,
        name: str,
        disk: Disk,
        box: Callable[[], Box | None],
        line: Line,
        oracle: Oracle,
        clock: Clock,
        rng: random.Random,
        told_ack: Callable[[], None],
        *,
        two_ways: bool,
    ) -> None:
        self.name = name
        self.disk = disk
        self._box = box
        self.line = line
        self.oracle = oracle
        self.clock = clock
        self.rng = rng
        self._told_ack = told_ack
        self._modes = modes.begin(two_ways=two_ways)
        self._settle = asyncio.Event()
        self._in_hand: str | None = None
        self._heard: SyncedView | None = None
        # A box that lost its end may have put other sales at the places of ours: its news counts once it was asked.
        self._asked = False

    @property
    def waiting(self) -> int:
        """Copies that are not in the cloud."""
        return sum(copy.state in ("pending", "accepted") for copy in self.disk.copies.values())

    # --- what the box tells

    def met(self, box: Box) -> None:
        """The box is there (again): it is asked for what it accepted."""
        self._heard, self._asked = None, False
        self._settle.set()
        box.spawn(self._listen(box))

    def look_again(self) -> None:
        """As after a blip of the shop's network."""
        self._settle.set()

    async def _listen(self, box: Box) -> None:
        loop = asyncio.get_running_loop()
        with box.feed.subscribe() as news:
            while True:
                _, view = await news.next()
                loop.call_later(self.rng.uniform(*LAN_S), self._hear, box, view)

    def _hear(self, box: Box, view: msgspec.Struct) -> None:
        if not box.card.powered:
            return
        if isinstance(view, ModeView):
            self._modes = modes.heard(self._modes, view)
        elif isinstance(view, SyncedView):
            self._heard = view
            self._compare_all()

    def _compare_all(self) -> None:
        for copy in self.disk.copies.values():
            self._compare(copy)

    def _compare(self, copy: Copy) -> None:
        epoch, seq = copy.place
        heard = self._heard if self._asked else None
        if copy.state == "accepted" and heard is not None and epoch == heard.epoch and seq <= heard.seq:
            self._synced(copy)

    def _synced(self, copy: Copy) -> None:
        copy.state = "synced"
        self.oracle.told_synced(copy.sale.sale_id)

    # --- at the counter

    async def bring(self, sale: Sale) -> Copy:
        """A ticket was made: keep it, and hand it to whoever the mode names."""
        copy = self.disk.copies[sale.sale_id] = Copy(sale)
        self._in_hand = sale.sale_id
        try:
            await self._deliver(copy, ("cloud", "box") if self._modes.mode == "cloud" else ("box",))
        finally:
            self._in_hand = None
        if copy.state == "pending":
            self._settle.set()
        return copy

    def between_tickets(self) -> Mode:
        """The mode for the next ticket; the only moment at which it changes."""
        self._modes, change = modes.between_tickets(self._modes, self.clock.monotonic())
        if change is not None:
            self.oracle.trace.note(self.name, "mode", change.new, change.cause, change.by)
        return self._modes.mode

    async def _deliver(self, copy: Copy, ways: tuple[str, ...]) -> None:
        for way in ways:
            await (self._to_cloud(copy) if way == "cloud" else self._to_box(copy))
            if copy.state != "pending":
                return

    async def _to_cloud(self, copy: Copy) -> None:
        copy.asked_cloud = True
        body = copy.sale.encode()
        try:
            await self.line.ask("sale", lambda: self.line.office.sell(body))
        except CloudUnreachable as error:
            self._cloud_failed(copy, str(error.fields["cause"]))
        except CloudRefused as refusal:
            if refusal.fields["status"] == 409:
                self.oracle.fail("3", f"head office refuses {copy.sale.sale_id}: {refusal}")
            self._cloud_failed(copy, "refused")
        else:
            if copy.sale.sale_id == self._in_hand:
                self._modes = modes.cloud_worked(self._modes)
            self.oracle.answered.add(copy.sale.sale_id)
            self._synced(copy)

    def _cloud_failed(self, copy: Copy, cause: str) -> None:
        """Only the ticket in hand tells of the way to take next; what is brought behind the counter does not."""
        if copy.sale.sale_id == self._in_hand:
            self._modes = modes.cloud_failed(self._modes, cause, self.clock.monotonic())

    async def _to_box(self, copy: Copy) -> None:
        sale = copy.sale
        online = hides = False

        async def accept(box: Box) -> tuple[Ack, bool]:
            nonlocal online, hides
            online, hides = box.wan.link.online, any(operations_in(sale, BUILT_IN))
            ago_s = self.clock.monotonic() - self.line.answered_s
            ack, known = await box.selling.accept(sale, self.name)
            if hides and not known and box.card.powered:
                self.oracle.passed(f"sale {sale.sale_id}", online, ago_s)
            return ack, known

        try:
            ack, _ = await self.ask_box(accept)
        except OnlineOnly:
            # The cloud may hold it unsaid, or a ticket was handed out: then it is no longer the till's to withdraw.
            copy.state = "pending" if copy.asked_cloud or copy.place != (0, 0) else "withdrawn"
        except (NoAnswer, CannotAccept):
            pass
        except SaleConflict as conflict:
            self.oracle.fail("3", f"the box calls {sale.sale_id} a conflict: {conflict}")
        else:
            self.acked(copy, ack)

    def acked(self, copy: Copy, ack: Ack) -> None:
        """The box has it."""
        self.oracle.acked(copy.sale.sale_id, canonical(ack))
        self.oracle.judged(copy.sale, ack.flags)
        self.disk.witness = max(self.disk.witness, ((ack.epoch, ack.seq), bytes(ack.head)))
        if copy.state == "pending":
            copy.state, copy.place = "accepted", (ack.epoch, ack.seq)
            self._compare(copy)  # the news may have come before the ack
        self._told_ack()

    # --- behind it

    async def settle(self) -> None:
        """Bring what is still here, for ever."""
        wait_s = RETRY_S[0]
        while True:
            await self._check()
            for copy in list(self.disk.copies.values()):
                if copy.state == "pending" and copy.sale.sale_id != self._in_hand:
                    await self._deliver(copy, self._behind_the_counter())
            if not self._asked or any(copy.state == "pending" for copy in self.disk.copies.values()):
                await self.clock.sleep(self.rng.uniform(0, wait_s))
                wait_s = min(wait_s * 2, RETRY_S[1])
            else:
                wait_s = RETRY_S[0]
                await self._settle.wait()
                self._settle.clear()

    def _behind_the_counter(self) -> tuple[str, ...]:
        if not self._modes.two_ways:
            return ("box",)
        return ("cloud", "box") if self._modes.mode == "cloud" else ("box", "cloud")

    async def _check(self) -> None:
        """Show the box the last head that it signed for us, and ask it for everything it accepted."""
        _, head = self.disk.witness
        with contextlib.suppress(NoAnswer, CannotAccept):
            if head:
                await self.ask_box(lambda box: box.report.witness.hear(head, self.name))
            await self._look_up_all()

    async def _look_up_all(self) -> None:
        for copy in [c for c in self.disk.copies.values() if c.state == "accepted"]:
            sale_id = copy.sale.sale_id
            try:
                view = await self.ask_box(lambda box, sale_id=sale_id: _look_up(box, sale_id))  # type: ignore[misc]
            except NotFound:
                self.oracle.trace.note(self.name, "lost", sale_id)
                copy.state = "pending"
            else:
                # Another one, when it was carried into a new epoch.
                copy.place = (view.ack.epoch, view.ack.seq)
                if view.synced:
                    self._synced(copy)
        self._asked = True
        self._compare_all()

    async def ask_box(self, work: Callable[[Box], Awaitable[Any]]) -> Any:
        """A request over the shop's network. Raises NoAnswer, and what the box raises."""
        await self.clock.sleep(self.rng.uniform(*LAN_S))
        box = self._box()
        if box is None:
            raise NoAnswer
        try:
            answer = await asyncio.wait_for(box.ask(work), ANSWER_S)
        except (NoBox, TimeoutError) as error:
            raise NoAnswer from error
        if self.rng.random() < LOST_ACKS:
            self.line.counts["lost ack"] += 1
            raise NoAnswer
        return answer


async def _look_up(box: Box, sale_id: str) -> Any:
    return box.selling.look_up(sale_id)

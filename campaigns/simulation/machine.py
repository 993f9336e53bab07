"""The machine that the box runs on: its card and its power, one run of the daemon after another.

A power cut leaves a copy of the card as it was at that moment; the next run goes on from the copy.
"""

import asyncio
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from appliance.config import Config
from appliance.domain.enrolling import EnrolAnswer
from appliance.domain.errors import CannotAccept
from appliance.gateways.identity import Identity
from appliance.runtime.clock import Clock
from appliance.runtime.keyfile import public_pem
from appliance.stopped import new_epoch
from campaigns.simulation.box import Box
from campaigns.simulation.clock import Lead, MachineClock, TrueTime, between
from campaigns.simulation.line import Line
from campaigns.simulation.oracle import Oracle
from campaigns.simulation.parts import Parts

BOOT_S = (5.0, 20.0)
# systemd tries again (RestartSec) when the daemon ends by itself.
RESTART_S = 5.0


class Machine:
    """Runs the box until `end`. `opened` is called each time tills can sell; `counts` tells what befell it."""

    def __init__(
        self,
        folder: Path,
        line: Line,
        oracle: Oracle,
        parts: Parts,
        rng_of: Callable[[str], random.Random],
        opened: Callable[[Box], None],
    ) -> None:
        self.lead = Lead()
        self.counts: Counter[str] = Counter()
        self.ground = folder / "0"
        self.off_s = 0.0
        self._folder = folder
        self._line = line
        self._oracle = oracle
        self._parts = parts
        self._rng_of = rng_of
        self._opened = opened
        self._time = TrueTime()
        self._card_rng = rng_of("card")
        self._now: Box | None = None
        self._boots = 0
        self._full = False
        self._older: Path | None = None
        self._went_down = asyncio.Event()
        self._closing = False
        self._opens_epoch = False

    @property
    def box(self) -> Box | None:
        """The box, while tills can reach it."""
        return self._now if self._now is not None and self._now.ready else None

    def enrol(self, pem: bytes) -> None:
        """Give the first card its key, and what head office said when the box was enrolled."""
        self.ground.mkdir()
        (self.ground / "box-key.pem").write_bytes(pem)
        office, identity = self._line.office, Identity(self.ground)
        answer = EnrolAnswer(
            box=identity.box,
            shop="shop",
            shop_name="A shop",
            box_token="a token",  # noqa: S106  nobody asks for it here
            cloud_keys=[public_pem(key) for key in office.keys.values()],
            policy=msgspec.Raw(office.signed_policy),
        )
        identity.keep_enrolment("http://head-office.invalid", answer)

    async def up(self) -> None:
        """Wait for the box to be up."""
        while self.box is None:
            await self._time.sleep(60.0)

    # --- what befalls it

    def cut_power(self, why: str, off_s: float) -> None:
        """At this very moment; the card is what it was."""
        box = self._now
        if box is None or not box.card.powered:
            return
        self._oracle.trace.note("power cut", why)
        self.counts[f"power cut: {why}"] += 1
        self._boots += 1
        self.ground = self._folder / str(self._boots)
        box.card.copy_to(self.ground)
        box.lose_power()
        self._oracle.closed()
        self.off_s = off_s
        self._went_down.set()

    def restart(self) -> None:
        """In good order."""
        if self._now is not None:
            self._now.stop()

    def fill_card(self, full: bool) -> None:
        """No room for another page, or room again."""
        self._full = full
        if self._now is not None:
            self._now.card.fill() if full else self._now.card.make_room()

    async def start_second(self) -> None:
        """Somebody starts a second daemon on the same card."""
        if (box := self.box) is not None:
            self._oracle.expect(await box.is_alone(), "4", "a second daemon runs on one journal")

    def roll_back(self) -> None:
        """Somebody writes an older copy of the card back. The first time only the copy is made."""
        box = self._now
        if box is None or not box.card.powered:
            return
        if self._older is None:
            self._older = self._folder / "older"
            box.card.copy_to(self._older)
            return
        self.cut_power("rolled back", 30.0)
        shutil.rmtree(self.ground)
        shutil.copytree(self._older, self.ground)
        self._oracle.rolled_back(self.ground / "journal.db")

    def told_ack(self) -> None:
        """An ack has just left."""
        box = self._now
        if box is not None and box.card.armed == "acked":
            self._cut_when_armed("after-ack")

    def _cut_when_armed(self, why: str) -> None:
        if self._now is not None:
            self._now.card.armed = None
        self.cut_power(why, between(self._card_rng, 3.0, 300.0))

    # --- its life

    async def run(self) -> None:
        """One run after another."""
        rng = self._rng_of("power")
        ghosts: set[asyncio.Task[None]] = set()
        while not self._closing:
            self._went_down.clear()
            run, powered = await self._run_once()
            if powered:
                self._judge_end(run)
                await self._time.sleep(RESTART_S)
                continue
            ghosts.add(run)
            run.add_done_callback(ghosts.discard)
            run.add_done_callback(_swallow)
            while self.off_s > 0 and not self._closing:
                step_s = min(self.off_s, 60.0)
                self.off_s -= step_s
                await self._time.sleep(step_s)
            await self._time.sleep(rng.uniform(*BOOT_S))
        if ghosts:
            await asyncio.wait(ghosts)

    def end(self) -> None:
        """Stop the box, and start no other."""
        self._closing = True
        self.restart()

    async def call_technician(self) -> None:
        """A card that was put back is noticed by head office or head file; a person opens another epoch."""
        for _ in range(60):
            await self._time.sleep(5.0)
            if (box := self.box) is not None and box.drain.found_rollback:
                self._opens_epoch = True
                box.stop()
                await self._time.sleep(2 * RESTART_S)
                return

    async def _run_once(self) -> tuple[asyncio.Task[None], bool]:
        """Boot and run until the daemon ends, or the power goes (False) and its ghost runs on."""
        clock = MachineClock(f"boot-{self._boots}-{round(self._time.monotonic())}", self.lead)
        card = self._parts.card(self.ground, self._card_rng, self._cut_when_armed)
        if self._full:
            card.fill()
        if self._opens_epoch:
            await self._open_epoch(clock)
        box = self._now = Box(card, self._line, clock, self._rng_of(clock.boot), self._parts)
        run = asyncio.create_task(box.run(lambda: self._up(box)), name="box")
        down = asyncio.create_task(self._went_down.wait(), name="down")
        await asyncio.wait((run, down), return_when=asyncio.FIRST_COMPLETED)
        down.cancel()
        self._oracle.closed()
        if card.powered:
            self._now = None
        return run, card.powered

    async def _open_epoch(self, clock: Clock) -> None:
        self._opens_epoch = False
        await new_epoch(Config(state=self.ground), clock, "restored")

    def _up(self, box: Box) -> None:
        self._oracle.trace.note("box up", box.journal.end.epoch, box.journal.end.seq)
        self._oracle.opened(box)
        self._opened(box)

    def _judge_end(self, run: asyncio.Task[None]) -> None:
        error = run.exception()
        if error is None:
            return
        self._oracle.trace.note("box ended", type(error).__name__)
        self.counts[f"box ended: {type(error).__name__}"] += 1
        if not isinstance(error, CannotAccept):
            self._oracle.fail("11", f"the box ended with {error!r}")


def _swallow(run: asyncio.Task[None]) -> None:
    if not run.cancelled():
        run.exception()  # what befalls a machine without power is nobody's business

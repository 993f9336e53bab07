"""Updates, as the daemon sees them: fetch what head office offers, have it installed at a quiet moment, tell the end.

Nothing here has privileges. What is asked of the small root units, and what they did, passes by files
(storage/update_files.py, handover.py); every step is found again after a power cut. A trouble on the way (no line, no
room) is waited out; a verdict ends the offer, is recorded in the chain, and head office offers it no more.
"""

import asyncio
import hashlib
import logging
import random
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from appliance.domain.canonical import canonical
from appliance.domain.errors import BadSignature, StoreboxError
from appliance.domain.statements import OFFER_TYPE, Keys, verify
from appliance.domain.update import (
    DETAIL_MAX,
    Here,
    Offer,
    Outcome,
    Reason,
    State,
    UpdateView,
    higher,
    judge,
)
from appliance.runtime.clock import Clock
from appliance.runtime.pause import pause
from appliance.services.handover import Handover
from appliance.services.ports import Recorder, UpdateCloud
from appliance.storage.update_files import Memory, UpdateFiles, UpdateRecords

log = logging.getLogger(__name__)

# One request: a second or so of the paced line, and what a cut connection costs at most.
PIECE_BYTES = 256 * 1024
# Somebody is being served: an update is in no hurry, and takes a quarter of what it may.
SERVING_S, SERVING_SHARE = 30.0, 0.25
# How soon a quiet moment or a word of the root units is noticed.
LOOK_S = 10.0
# With nothing under way a nudge is waited for, and the processor sleeps.
REST_S = 600.0
RETRY_S, RETRY_MAX_S = 5.0, 600.0
JITTER = (0.75, 1.0)
# Until the root unit is at it, head office can think again.
STILL_OPEN: tuple[State, ...] = ("fetching", "fetched", "installed")


class Bounds(NamedTuple):
    """How much of the line an update may take, and how large it may be."""

    bytes_per_s: int
    bytes_max: int


class Machine(NamedTuple):
    """What runs here."""

    version: str
    compatible: str


class Updates:
    """The loop. `quiet_s`: how long nothing was asked of the box; `admit` raises DiskFull for so many bytes more."""

    def __init__(
        self,
        machine: Machine,
        cloud: UpdateCloud,
        keys: Keys,
        files: UpdateFiles,
        records: UpdateRecords,
        recorder: Recorder,
        clock: Clock,
        rng: random.Random,
        bounds: Bounds,
        handover: Handover,
        quiet_s: Callable[[], float],
        admit: Callable[[int], None],
    ) -> None:
        self._machine = machine
        self._cloud = cloud
        self._keys = keys
        self._files = files
        self._records = records
        self._recorder = recorder
        self._clock = clock
        self._rng = rng
        self._bounds = bounds
        self._handover = handover
        self._quiet_s = quiet_s
        self._admit = admit
        self._begun = False
        self._memory = Memory()
        self._offer: Offer | None = None
        self._named, self._withdrawn = 0, False
        self._state: State = "none"
        self._fetched = 0
        self._failures = 0
        self._wake = asyncio.Event()

    @property
    def went_back(self) -> bool:
        """Whether the last update was taken back, and none has come since."""
        return self._memory.last == "rolled-back"

    def view(self) -> UpdateView:
        """What runs, what is under way, what became of the last one."""
        offer, memory = self._offer, self._memory
        return UpdateView(
            running=self._machine.version,
            compatible=self._machine.compatible,
            state=self._state,
            number=0 if offer is None else offer.number,
            version="" if offer is None else offer.version,
            fetched_bytes=0 if offer is None else self._fetched,
            size=0 if offer is None else offer.size,
            last=memory.last,
            last_version=memory.last_version,
            last_reason=memory.last_reason,
        )

    def nudge(self, number: int) -> None:
        """Head office names the update that it offers: a new one wakes the loop; 0: it offers none (any more)."""
        self._withdrawn = number == 0
        known = self._offer.number if self._offer else self._memory.ended
        if number > max(known, self._named):
            self._named = number
            self._wake.set()

    async def run(self) -> None:
        """Keep at it until cancelled. An update in trouble is no reason to stop a box that sells."""
        while True:
            try:
                if not self._begun:
                    await self.begin()
                    self._begun = True
                rest_s = await self.step()
            except (StoreboxError, OSError) as error:
                self._failures += 1
                code = getattr(error, "code", type(error).__name__)
                log.info("update.waits", extra={"code": code, "why": str(error)})
                bound_s = min(RETRY_S * 2.0 ** min(self._failures - 1, 16), RETRY_MAX_S)
                rest_s = self._rng.uniform(*JITTER) * bound_s
            else:
                self._failures = 0
            await pause(self._clock, rest_s, self._wake)

    async def begin(self) -> None:
        """Find again what was under way. Raises OSError."""
        self._memory = await asyncio.to_thread(self._files.memory)
        envelope = await asyncio.to_thread(self._files.offer)
        if envelope is None:
            return
        try:
            offer = verify(envelope, OFFER_TYPE, Offer, self._keys)
        except BadSignature as error:
            log.warning("update.kept_offer_unusable", extra={"why": str(error)})
            await asyncio.to_thread(self._files.drop)
            return
        if offer.number > self._memory.ended:
            self._offer = offer
        else:  # the power went before it was dropped
            await asyncio.to_thread(self._files.drop)

    async def step(self) -> float:
        """Go on by one step; how long to rest then. Raises what the cloud, the disk and the journal bring."""
        await self._hear_outcome()
        if self._withdrawn and self._offer is not None and self._state in STILL_OPEN:
            await self._let_go(self._offer)
        if self._named > (self._offer.number if self._offer else self._memory.ended):
            await self._ask_for_offer()
        if self._offer is None:
            self._state = "none"
            return REST_S
        if not await asyncio.to_thread(self._files.whole):
            return await self._fetch(self._offer)
        self._fetched = self._offer.size
        self._state = await self._handover.go_on(self._offer)
        return LOOK_S

    async def _hear_outcome(self) -> None:
        """Tell what the root units say became of it, once."""
        outcome = await asyncio.to_thread(self._records.outcome)
        if outcome is None:
            return
        digest = hashlib.sha256(canonical(outcome)).hexdigest()
        if digest == self._memory.told:
            return
        await self._tell(outcome)
        await self._end(outcome, digest)

    async def _tell(self, outcome: Outcome) -> None:
        data = {"number": outcome.number, "version": outcome.version, "was": outcome.was}
        why = {"reason": outcome.reason, "detail": outcome.detail[:DETAIL_MAX]}
        match outcome.state:
            case "updated":
                await self._recorder.record("updated", data)
            case "rolled-back":
                await self._recorder.record("update_rolled_back", data | why)
            case "refused":
                await self._recorder.record("update_refused", data | why)
        log.warning(f"update.{outcome.state.replace('-', '_')}", extra=data | why)

    async def _end(self, outcome: Outcome, told: str) -> None:
        """Remember that an offer ended, then forget what was fetched: cut in between, it is only dropped again."""
        memory = msgspec.structs.replace(
            self._memory,
            ended=max(self._memory.ended, outcome.number),
            told=told,
            last=outcome.state,
            last_version=outcome.version,
            last_reason=outcome.reason,
        )
        await asyncio.to_thread(self._files.remember, memory)
        self._memory = memory
        if self._offer is not None and self._offer.number <= memory.ended:
            self._offer = None
            self._state = "none"
            await asyncio.to_thread(self._files.drop)

    async def _let_go(self, offer: Offer) -> None:
        """Head office took it back: no verdict, it may come again."""
        log.info("update.withdrawn", extra={"number": offer.number, "version": offer.version})
        self._offer = None
        await asyncio.to_thread(self._files.drop)

    async def _refuse(self, number: int, version: str, reason: Reason, detail: str = "") -> None:
        outcome = Outcome(number, version, "refused", self._machine.version, reason, detail)
        await self._tell(outcome)
        await self._end(outcome, self._memory.told)

    async def _ask_for_offer(self) -> None:
        named, self._named = self._named, 0
        try:
            envelope = await self._cloud.offer()
        except StoreboxError:
            self._named = max(named, self._named)  # asked again after a while
            raise
        try:
            offer = verify(envelope, OFFER_TYPE, Offer, self._keys)
        except BadSignature as error:
            await self._refuse(named, "", Reason.BAD_SIGNATURE, str(error))
            return
        memory = self._memory
        here = Here(*self._machine, memory.floor, memory.ended, self._bounds.bytes_max)
        reason = judge(offer, here)
        if offer.compatible == self._machine.compatible:
            await self._raise_floor(offer.floor)
        if reason is not None:
            await self._refuse(offer.number, offer.version, reason)
            return
        await asyncio.to_thread(self._files.take, envelope)
        self._offer, self._fetched = offer, 0
        log.info("update.taken", extra={"number": offer.number, "version": offer.version})

    async def _raise_floor(self, floor: str) -> None:
        """What head office calls too old stays too old, whatever becomes of this offer."""
        if higher(floor, self._memory.floor) != self._memory.floor:
            self._memory = msgspec.structs.replace(self._memory, floor=floor)
            await asyncio.to_thread(self._files.remember, self._memory)

    async def _fetch(self, offer: Offer) -> float:
        """One piece; the time that it may take of the line is the rest."""
        self._state = "fetching"
        self._fetched = start = await asyncio.to_thread(self._files.fetched)
        if start < offer.size:
            self._admit(offer.size - start)
            piece = await self._cloud.fetch_piece(offer.sha256, start, PIECE_BYTES, offer.size)
            await asyncio.to_thread(self._files.append, piece, start)
            self._fetched = start + len(piece)
            share = SERVING_SHARE if self._quiet_s() < SERVING_S else 1.0
            return len(piece) / (self._bounds.bytes_per_s * share)
        if not await asyncio.to_thread(self._files.finish, offer.sha256):
            await self._refuse(offer.number, offer.version, Reason.OTHER_BUNDLE)
        return 0.0

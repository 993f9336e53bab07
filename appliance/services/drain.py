"""Bring the journal to the cloud: oldest first, in order, at least once, for ever.

An event counts as delivered only on a receipt that the cloud signed for its place and hash. There is no expiry, no
maximum of retries, and nothing is skipped. A fork or a gap stops the drain loudly; selling goes on.

One batch is on its way at a time, and the one behind it is read and packed meanwhile; how large they are is the pace's
business (docs/decisions/0014-drain-window.md).
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import NamedTuple

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from appliance.domain.batch import pack
from appliance.domain.errors import BadEvent, BadSignature, CannotAccept, CloudRefused, CloudUnreachable
from appliance.domain.link import LinkState
from appliance.domain.pace import PROOF_EVENTS, Pace
from appliance.domain.statements import RECEIPT_TYPE, Keys, Receipt, verify
from appliance.domain.wire import BATCH_EVENTS_MAX, SyncedView
from appliance.runtime.clock import Clock
from appliance.runtime.pause import pause
from appliance.services.feed import Feed
from appliance.services.ports import Cloud
from appliance.services.stranding import Stranding
from appliance.services.wan import WanWatch
from appliance.storage.journal import Journal
from appliance.storage.outgoing import Outgoing

log = logging.getLogger(__name__)

BACKOFF_BASE_S = 1.0
# An identity that the cloud does not know is for a person to mend; ask again now and then.
HOLD_S = 60.0
HOLD_STATUSES = (401, 403)
TOO_LARGE_STATUS = 413
# The cloud holds another continuation of an epoch. A person must look at that of the present one only.
FORKS = ("fork", "rolled-back")


class DrainStopped(Exception):
    """The cloud and this box disagree about the chain: `code` (fork, gap, ...) says how. A person must look.

    `epoch` is the one that they disagree about, once it is known.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.epoch = 0


class _TooMuch(Exception):
    """Somebody before the cloud takes no batch of this size; a smaller one comes next."""


class _Parcel(NamedTuple):
    """A batch, packed. Its events are let go: one that waits for its turn should not hold them twice."""

    epoch: int
    last_seq: int
    end: int
    events: int
    more: bool
    packed: bytes


class Drain:
    """The loop that empties the backlog."""

    def __init__(
        self,
        journal: Journal,
        outgoing: Outgoing,
        cloud: Cloud,
        wan: WanWatch,
        feed: Feed,
        cloud_keys: Keys,
        clock: Clock,
        rng: random.Random,
        *,
        batch_events: int = BATCH_EVENTS_MAX,
        retry_cap_s: float = 60.0,
        rolled_back: str | None = None,
    ) -> None:
        self._journal = journal
        self._outgoing = outgoing
        self._cloud = cloud
        self._wan = wan
        self._feed = feed
        self._cloud_keys = cloud_keys
        self._clock = clock
        self._rng = rng
        self._pace = Pace(batch_events)
        # What comes next, when it was packed while the one before it travelled.
        self._ahead: _Parcel | None = None
        self._retry_cap_s = retry_cap_s
        self._retry_after_s = 0.0
        self.stranding = Stranding(journal, outgoing)
        # A journal that is known to lack its end must not go on where the cloud would take it for another.
        self.stopped = None if rolled_back is None else DrainStopped("rolled-back", rolled_back)
        self._line_changed = asyncio.Event()
        wan.listen(lambda _: self._line_changed.set())

    def halt(self, why: str) -> None:
        """Send nothing more: this journal turned out to lack its end."""
        if self.stopped is None:
            self.stopped = DrainStopped("rolled-back", why)

    @property
    def found_rollback(self) -> bool:
        """The cloud holds another continuation of the present epoch: this card was rolled back, or cloned."""
        return self.stopped is not None and self.stopped.code in FORKS

    async def run(self) -> None:
        """Drain for ever; after a fork or a gap, wait for ever with `stopped` set."""
        self._tell_synced()
        while self.stopped is None:
            try:
                if not await self._attempt_until_answered():
                    await self._journal.grown()
            except DrainStopped as stop:
                await self._stop_or_strand(stop)
        await asyncio.Event().wait()

    async def step(self) -> bool:
        """Deliver one batch and settle it, or find that it must be smaller; False when nothing waits.

        Raises CloudUnreachable (try again), DrainStopped (never again without a person).
        """
        if self.stopped is not None:
            return False
        half_open = self._wan.link.half_open
        # The pace may know of less: a 413 halves the proof too.
        size = min(PROOF_EVENTS, self._pace.events) if half_open else self._pace.events
        ready, self._ahead = self._ahead, None
        parcel = ready if ready and ready.events <= size else await self._parcel(size)
        if parcel is None:
            return False
        try:
            async with self._packing_behind(parcel, look=parcel.more and not half_open) as behind:
                receipt = await self._deliver(parcel)
                if receipt.seq == parcel.last_seq:
                    self._ahead = await behind
        except _TooMuch:
            return True
        except DrainStopped as stop:
            stop.epoch = parcel.epoch
            raise
        self._clock.confirm(datetime.fromisoformat(receipt.at))
        self._tell_synced()
        return True

    async def _parcel(self, size: int, after: int | None = None) -> _Parcel | None:
        """The next batch (after a place: what follows there), packed."""
        batch = await self._outgoing.next_batch(size, self._journal.stranded, after)
        if batch is None:
            return None
        packed = await asyncio.to_thread(pack, batch.head, batch.bodies)
        return _Parcel(batch.epoch, batch.last_seq, batch.end, len(batch.bodies), batch.more, packed)

    @asynccontextmanager
    async def _packing_behind(
        self, parcel: _Parcel, *, look: bool
    ) -> AsyncIterator[asyncio.Future[_Parcel | None]]:
        """Read and pack what follows while inside; given up when the block fails: it is then read again."""
        behind: asyncio.Future[_Parcel | None]
        if look:
            behind = asyncio.create_task(self._parcel(self._pace.hoped, parcel.end), name="drain.behind")
        else:
            behind = asyncio.get_running_loop().create_future()
            behind.set_result(None)
        try:
            yield behind
        finally:
            behind.cancel()
            await asyncio.wait([behind])

    async def _attempt_until_answered(self) -> bool:
        """One step, tried until it is answered; full jitter between tries, cut short when the line changes."""
        attempts = AsyncRetrying(
            retry=retry_if_exception_type(CloudUnreachable),
            wait=self._wait_s,
            sleep=self._pause,
            reraise=True,
        )
        return await attempts(self._step_when_possible)

    async def _step_when_possible(self) -> bool:
        while self._wan.link.state is LinkState.OFFLINE:
            await self._wan.changed()
        self._line_changed.clear()
        return await self.step()

    async def _deliver(self, parcel: _Parcel) -> Receipt:
        """Send, verify what comes back, and settle it."""
        nonce, began_s = self._rng.randbytes(16).hex(), self._clock.monotonic()
        self._retry_after_s = 0.0
        try:
            envelope = await self._cloud.send_batch(parcel.packed, nonce)
        except CloudUnreachable as error:
            self._retry_after_s = error.fields.get("retry_after_s") or 0.0
            self._pace.broke(parcel.events)
            raise
        except CloudRefused as refusal:
            if refusal.fields.get("status") == TOO_LARGE_STATUS and self._pace.too_large(parcel.events):
                raise _TooMuch from refusal
            if refusal.fields.get("status") in HOLD_STATUSES:
                self._retry_after_s = HOLD_S
                raise CloudUnreachable(str(refusal), cause="refused") from refusal
            raise DrainStopped(str(refusal.fields.get("problem")), str(refusal)) from refusal
        receipt = self._verified(parcel, envelope, nonce)
        self._pace.went_through(parcel.events, self._clock.monotonic() - began_s)
        await self._settle(receipt, envelope)
        return receipt

    def _verified(self, parcel: _Parcel, envelope: bytes, nonce: str) -> Receipt:
        try:
            receipt = verify(envelope, RECEIPT_TYPE, Receipt, self._cloud_keys)
        except BadSignature as error:
            # Somebody between us and the cloud answers in its name: no receipt, so nothing is settled.
            raise CloudUnreachable(f"the receipt does not verify: {error}", cause="captive-portal") from error
        if receipt.nonce != nonce:
            raise CloudUnreachable("the receipt answers another request", cause="captive-portal")
        if receipt.epoch != parcel.epoch or receipt.seq < parcel.last_seq:
            raise DrainStopped(
                "receipt", f"a receipt for {receipt.epoch}/{receipt.seq} does not cover the batch"
            )
        return receipt

    async def _settle(self, receipt: Receipt, envelope: bytes) -> None:
        try:
            await self._journal.settle(receipt, envelope)
        except BadEvent as error:
            # The cloud holds, from this very box, what is not here: this journal lost its end, or another runs.
            raise DrainStopped("rolled-back", str(error)) from error

    async def _stop_or_strand(self, stop: DrainStopped) -> None:
        """Stop; but what is left of an epoch before the present one holds up nothing."""
        if stop.epoch == self._journal.end.epoch or stop.code not in FORKS:
            await self._stop(stop)
            return
        log.error(
            "drain.epoch_not_followed", extra={"epoch": stop.epoch, "code": stop.code, "why": str(stop)}
        )
        try:
            await self.stranding.strand(stop.epoch)
        except CannotAccept as error:
            log.error("drain.not_carried", extra={"epoch": stop.epoch, "why": str(error)})
            await self._clock.sleep(HOLD_S)

    async def _stop(self, stop: DrainStopped) -> None:
        self.stopped = stop
        log.error("drain.stopped", extra={"code": stop.code, "detail": str(stop)})
        with contextlib.suppress(Exception):
            await self._journal.record("drain_stopped", {"code": stop.code, "detail": str(stop)})

    def _tell_synced(self) -> None:
        synced = self._journal.synced()
        epoch = max(synced, default=self._journal.end.epoch)
        self._feed.publish("synced", SyncedView(epoch, synced.get(epoch, 0)))

    def _wait_s(self, state: RetryCallState) -> float:
        spread_s = min(self._retry_cap_s, BACKOFF_BASE_S * 2.0 ** min(state.attempt_number, 16))
        # Full jitter: 400 shops that come back together must not knock together.
        return max(self._retry_after_s, self._rng.uniform(0.0, spread_s))

    async def _pause(self, seconds: float) -> None:
        """Sleep, but not past a change of the line: it is the moment to try."""
        await pause(self._clock, seconds, self._line_changed)

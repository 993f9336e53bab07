"""The line between shop and head office, and what the weather does to it.

A request can die before it arrives, its answer on the way back (the work is done all the same), arrive twice (the
second time up to two hours later), be cut short, as can its answer, be answered by somebody else or with an answer to
another question, be slow, be too large, or be refused.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.domain.dsse import Signer, open_envelope
from appliance.domain.errors import (
    CloudRefused,
    CloudUnreachable,
    OutcomeUnknown,
    SnapshotRequired,
    StoreboxError,
    TooLarge,
)
from appliance.domain.link import PROBE_TIMEOUT_S, Cause
from appliance.domain.statements import RECEIPT_TYPE
from appliance.domain.wire import HeartbeatAnswer, OperationAnswer, OperationRequest
from appliance.runtime.clock import Clock
from campaigns.simulation.headoffice import HeadOffice

Answer = TypeVar("Answer")
Observe = Callable[..., None]

# As the real client (gateways/cloud.py): how long a request hangs on a line that swallows it.
HANG_S = {"probe": PROBE_TIMEOUT_S}
HANG_OTHERS_S = 10.0
BULK = ("send_batch", "fetch_catalogue")
LATE_S = (0.05, 7_200.0)
# How often head office wants to hear of the box.
HEARTBEAT_S = 600.0

# Whoever stands between box and head office with a key of his own.
STRANGER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(128, 160))))


class Line:
    """What every request passes. The weather sets the public fields; `counts` tells what was done to requests."""

    def __init__(self, office: HeadOffice, clock: Clock, rng: random.Random) -> None:
        self.office = office
        self.clock = clock
        self.rng = rng
        self.cut: list[Cause] = []  # the last one is the one seen
        self.refusal: int | None = None
        self.latency_s = (0.01, 0.08)
        self.loss = 0.001
        self.lost_answers = 0.002
        self.duplicates = 0.005
        self.forged = 0.0
        self.cut_bodies = 0.0
        self.batch_bytes_max: int | None = None
        self.answered_s = -1e9
        self.counts: Counter[str] = Counter()
        self._late: set[asyncio.TimerHandle] = set()

    async def ask(self, call: str, work: Callable[[], Answer]) -> Answer:
        """One request and its answer. Raises CloudUnreachable or CloudRefused."""
        rng = self.rng
        if self.cut:
            await self._die(call, self.cut[-1])
        if rng.random() < self.loss:
            self.counts["lost request"] += 1
            await self._die(call, Cause.NO_ANSWER)
        # Nothing is done at the far end of a probe, so it is all one way.
        ways = 1 if call == "probe" else 2
        await self.clock.sleep(rng.uniform(*self.latency_s) / ways)
        if self.cut:
            await self._die(call, self.cut[-1])
        if self.refusal is not None:
            if ways == 2:
                await self.clock.sleep(rng.uniform(*self.latency_s) / 2)
            self._refuse(call, self.refusal)
        answer = work()
        if call != "probe" and rng.random() < self.duplicates:
            self._again(work)
        if rng.random() < self.lost_answers:
            self.counts["lost answer"] += 1
            await self._die(call, Cause.NO_ANSWER)
        if ways == 2:
            await self.clock.sleep(rng.uniform(*self.latency_s) / 2)
        if self.cut:
            self.counts["answer cut off"] += 1
            await self._die(call, self.cut[-1])
        self.answered_s = self.clock.monotonic()
        return answer

    def shortened(self, body: bytes, what: str) -> bytes:
        """The body as it comes: whole, or only its beginning."""
        if self.rng.random() >= self.cut_bodies:
            return body
        self.counts[what] += 1
        return body[: self.rng.randrange(len(body))]

    def forget_late(self) -> None:
        """What still wanders about in the network never arrives."""
        for handle in self._late:
            handle.cancel()

    async def _die(self, call: str, cause: Cause) -> None:
        if cause is Cause.NO_ANSWER:
            await self.clock.sleep(HANG_S.get(call, HANG_OTHERS_S))
        raise CloudUnreachable(f"{call}: {cause.value}", cause=cause)

    def _refuse(self, call: str, status: int) -> None:
        if status >= 500:
            retry_after_s = self.rng.choice([None, 1.0, 30.0])
            raise CloudUnreachable(f"{call}: {status}", cause=Cause.CLOUD_DOWN, retry_after_s=retry_after_s)
        raise CloudRefused(f"{call}: {status}", status=status, problem="unauthenticated", body={})

    def _again(self, work: Callable[[], object]) -> None:
        late_s = LATE_S[0] * (LATE_S[1] / LATE_S[0]) ** self.rng.random()

        def arrive() -> None:
            self.counts["duplicate delivery"] += 1
            try:
                work()
            except StoreboxError:
                self.counts["duplicate refused"] += 1

        self._late.add(asyncio.get_running_loop().call_later(late_s, arrive))


class Uplink:
    """One run of the box on the line: `services.ports.Cloud`, sampling each request as the real client does."""

    def __init__(self, line: Line, observe: Observe, powered: Callable[[], bool]) -> None:
        self._line = line
        self._observe = observe
        self._powered = powered
        self._office = line.office
        self._receipt = b""

    async def probe(self) -> None:
        """A signed answer to a nonce; the signature itself is left out, a stranger's answer is a `cut`."""
        await self._ask("probe", lambda: None)

    async def send_batch(self, batch: bytes, nonce: str) -> bytes:
        """To the real `examine` and `decide`."""
        before = self._receipt
        self._receipt = await self._ask("send_batch", lambda: self._deliver(batch, nonce))
        return self._received(self._receipt, before)

    async def heartbeat(self, _: bytes) -> HeartbeatAnswer:
        """Heard."""
        answer = HeartbeatAnswer(HEARTBEAT_S, self._office.version, 0)
        return await self._ask("heartbeat", lambda: answer)

    async def policy(self) -> bytes:
        """The built-in policy, signed."""
        return await self._ask("policy", lambda: self._office.signed_policy)

    async def fetch_catalogue(self, since: int | None, into: Path) -> None:
        """The catalogue or its changes, whole or cut."""
        transfer = await self._ask("fetch_catalogue", lambda: self._transfer(since))
        if isinstance(transfer, SnapshotRequired):
            raise transfer
        self._line.counts["catalogue sent"] += 1
        await asyncio.to_thread(into.write_bytes, self._line.shortened(transfer, "cut catalogue"))

    async def operation(self, name: str, request: OperationRequest) -> OperationAnswer:
        """Done at most once."""
        try:
            return await self._ask("operation", lambda: self._office.perform(name, request))
        except CloudUnreachable as error:
            raise OutcomeUnknown(operation=name, operation_id=request.operation_id) from error

    def _deliver(self, batch: bytes, nonce: str) -> bytes:
        limit = self._line.batch_bytes_max
        if limit is not None and len(batch) > limit:
            self._line.counts["413"] += 1
            raise CloudRefused("too large", status=413, problem=TooLarge.code)
        came = self._line.shortened(batch, "cut request")
        try:
            return self._office.take(came, nonce)
        except CloudRefused as refusal:
            if came is batch:
                raise
            # Cut short, it is no request: asked for again, as the real client does.
            raise CloudUnreachable(str(refusal), cause=Cause.OK) from refusal

    def _received(self, receipt: bytes, before: bytes) -> bytes:
        """What comes of it at the box: the receipt, nearly always."""
        line = self._line
        if line.rng.random() >= line.forged:
            return line.shortened(receipt, "cut answer")
        if before and line.rng.random() < 0.5:
            line.counts["old receipt"] += 1
            return before
        line.counts["forged receipt"] += 1
        payload = open_envelope(receipt, RECEIPT_TYPE, self._office.keys)
        return STRANGER.envelope(RECEIPT_TYPE, payload)

    def _transfer(self, since: int | None) -> bytes | SnapshotRequired:
        try:
            return self._office.transfer(since)
        except SnapshotRequired as required:
            return required

    async def _ask(self, call: str, work: Callable[[], Answer]) -> Answer:
        if not self._powered():
            await asyncio.Event().wait()  # a machine without power reaches nobody
        began_s, cause = self._line.clock.monotonic(), Cause.OK
        try:
            return await self._line.ask(call, work)
        except CloudRefused as refusal:
            cause = Cause.REFUSED if refusal.fields["status"] in (401, 403) else Cause.OK
            raise
        except CloudUnreachable as error:
            cause = Cause(error.fields["cause"])
            raise
        finally:
            self._observe(cause, self._line.clock.monotonic() - began_s, bulk=call in BULK)

"""The line between shop and head office, and what the weather does to it.

A request can die before it arrives, its answer on the way back (the work is done all the same), arrive twice (the
second time up to two hours later), be answered by somebody else, be slow, or be refused.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.domain.catalogue import Lead, pack_transfer, write_transfer
from appliance.domain.dsse import Signer, open_envelope
from appliance.domain.errors import CloudRefused, CloudUnreachable, OutcomeUnknown, StoreboxError
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

_stranger = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(128, 160))))


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
        await self.clock.sleep(rng.uniform(*self.latency_s) / 2)
        if self.cut:
            await self._die(call, self.cut[-1])
        if self.refusal is not None:
            await self.clock.sleep(rng.uniform(*self.latency_s) / 2)
            self._refuse(call, self.refusal)
        answer = work()
        if call != "probe" and rng.random() < self.duplicates:
            self._again(work)
        if rng.random() < self.lost_answers:
            self.counts["lost answer"] += 1
            await self._die(call, Cause.NO_ANSWER)
        await self.clock.sleep(rng.uniform(*self.latency_s) / 2)
        if self.cut:
            self.counts["answer cut off"] += 1
            await self._die(call, self.cut[-1])
        self.answered_s = self.clock.monotonic()
        return answer

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

    async def probe(self) -> None:
        """A signed answer to a nonce; the signature itself is left out, a stranger's answer is a `cut`."""
        await self._ask("probe", lambda: None)

    async def send_batch(self, batch: bytes, nonce: str) -> bytes:
        """To the real `examine` and `decide`."""
        envelope = await self._ask("send_batch", lambda: self._office.take(batch, nonce))
        if self._line.rng.random() < self._line.forged:
            self._line.counts["forged receipt"] += 1
            payload = open_envelope(envelope, RECEIPT_TYPE, self._office.keys)
            return _stranger.envelope(RECEIPT_TYPE, payload)
        return envelope

    async def heartbeat(self, _: bytes) -> HeartbeatAnswer:
        """Heard."""
        return await self._ask("heartbeat", lambda: HeartbeatAnswer(300.0, 1, 0))

    async def policy(self) -> bytes:
        """The built-in policy, signed."""
        return await self._ask("policy", lambda: self._office.policy)

    async def fetch_catalogue(self, since: int | None, into: Path) -> None:
        """An empty catalogue of version 1."""
        transfer = await self._ask(
            "fetch_catalogue", lambda: b"".join(pack_transfer(write_transfer(Lead(1, since), [])))
        )
        await asyncio.to_thread(into.write_bytes, transfer)

    async def operation(self, name: str, request: OperationRequest) -> OperationAnswer:
        """Done at most once."""
        try:
            return await self._ask("operation", lambda: self._office.perform(name, request))
        except CloudUnreachable as error:
            raise OutcomeUnknown(operation=name, operation_id=request.operation_id) from error

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

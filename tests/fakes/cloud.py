"""Head office in memory, behind a line that a test can cut, mend, and make flap. Implements services.ports.Cloud."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.domain import batch, event
from appliance.domain.canonical import canonical
from appliance.domain.catalogue import Article, Lead, pack_transfer, write_transfer
from appliance.domain.dsse import Signer
from appliance.domain.errors import (
    CloudRefused,
    CloudUnreachable,
    Fork,
    Gap,
    OutcomeUnknown,
    SnapshotRequired,
)
from appliance.domain.event import GENESIS, Position, Sealed
from appliance.domain.gate import BUILT_IN, Policy
from appliance.domain.health import Heartbeat
from appliance.domain.link import PROBE_TIMEOUT_S, Cause
from appliance.domain.statements import (
    HEAD_TYPE,
    HEARTBEAT_TYPE,
    POLICY_TYPE,
    RECEIPT_TYPE,
    Head,
    Keys,
    Receipt,
    sign,
    verify,
)
from appliance.domain.wire import HeartbeatAnswer, OperationAnswer, OperationRequest, PairingOrder
from appliance.runtime.clock import Clock, rfc3339

Answer = TypeVar("Answer")
# How long other calls than a probe hang on a dead line, as in the real client.
CALL_TIMEOUT_S = 10.0
# Calls so large that their time says nothing about the line.
BULK = ("send_batch", "fetch_catalogue")


class FakeCloud:
    """One box's head office. Time passes only on the clock it is given.

    `line` tells, request by request, how the line is: OK, or why not. NO_ANSWER hangs until the time-out; every other
    trouble shows at once. `lose_answers` requests are carried out, and only their answers are lost.
    """

    def __init__(
        self,
        clock: Clock,
        box: str = "sb-fake",
        box_keys: Keys | None = None,
        *,
        observe: Callable[..., None] = lambda cause, took_s, bulk: None,
        signer: Signer | None = None,
    ) -> None:
        self.signer = signer or Signer(Ed25519PrivateKey.generate())
        self.keys: Keys = {self.signer.key_id: self.signer.public_key}
        self.observe = observe
        self.latency_s = 0.02
        self.lose_answers = 0
        self.refusal: CloudRefused | None = None
        self.calls: list[str] = []
        self.events: defaultdict[int, list[Sealed]] = defaultdict(list)
        self.heartbeats: list[Heartbeat] = []
        self.operations: dict[str, tuple[str, OperationRequest, OperationAnswer]] = {}
        self.policy_in_force: Policy = BUILT_IN
        self.next_s = 30.0
        self.pairing: PairingOrder | None = None
        self.version = 0
        self.oldest_version = 0
        self._articles: dict[str, tuple[int, Article]] = {}
        self._clock = clock
        self._box = box
        self._box_keys = box_keys or {}
        self.mend()

    # --- what a test does to the line

    def mend(self) -> None:
        """Every request gets through."""
        self.line: Callable[[], Cause] = lambda: Cause.OK

    def cut(self, cause: Cause = Cause.NO_ANSWER) -> None:
        """No request gets through."""
        self.line = lambda: cause

    def flap(self, rng: random.Random, success: float, cause: Cause = Cause.NO_ANSWER) -> None:
        """Each request gets through with this probability."""
        self.line = lambda: Cause.OK if rng.random() < success else cause

    # --- what a test does to head office

    def publish(self, articles: Iterable[Article]) -> int:
        """Put articles (or tombstones) into the catalogue under a new version, which is returned."""
        self.version += 1
        for article in articles:
            self._articles[article.article_id] = (self.version, article)
        return self.version

    # --- services.ports.Cloud

    async def probe(self) -> None:
        await self._ask("probe", lambda: None, PROBE_TIMEOUT_S)

    async def send_batch(self, packed: bytes, nonce: str) -> bytes:
        return await self._ask("send_batch", lambda: self._ingest(packed, nonce))

    async def heartbeat(self, envelope: bytes) -> HeartbeatAnswer:
        return await self._ask("heartbeat", lambda: self._hear(envelope))

    async def policy(self) -> bytes:
        return await self._ask("policy", lambda: sign(self.signer, POLICY_TYPE, self.policy_in_force))

    async def fetch_catalogue(self, since: int | None, into: Path) -> None:
        transfer = await self._ask("fetch_catalogue", lambda: self._transfer(since))
        await asyncio.to_thread(into.write_bytes, transfer)

    async def operation(self, name: str, request: OperationRequest) -> OperationAnswer:
        try:
            return await self._ask("operation", lambda: self._perform(name, request))
        except CloudUnreachable as error:
            raise OutcomeUnknown(operation=name, operation_id=request.operation_id) from error

    # --- inside

    async def _ask(self, call: str, work: Callable[[], Answer], timeout_s: float = CALL_TIMEOUT_S) -> Answer:
        self.calls.append(call)
        began_s, cause = self._clock.monotonic(), self.line()
        try:
            await self._clock.sleep(timeout_s if cause is Cause.NO_ANSWER else self.latency_s)
            if cause is not Cause.OK:
                raise CloudUnreachable(f"{call}: {cause.value}", cause=cause)
            if self.refusal is not None:
                raise self.refusal
            answer = work()
            if self.lose_answers:
                self.lose_answers -= 1
                cause = Cause.NO_ANSWER
                raise CloudUnreachable(f"{call}: the answer was lost", cause=cause)
        except CloudRefused as refusal:
            cause = Cause.REFUSED if refusal.fields["status"] in (401, 403) else Cause.OK
            raise
        finally:
            self.observe(cause, self._clock.monotonic() - began_s, bulk=call in BULK)
        return answer

    def _ingest(self, packed: bytes, nonce: str) -> bytes:
        envelope, bodies = batch.unpack(packed)
        head = verify(envelope, HEAD_TYPE, Head, self._box_keys)
        stored = self.events[head.epoch]
        incoming = [event.read(body) for body in bodies]
        assert incoming[-1].hash == head.position.head, "the head signs another event than the last one"
        try:
            for sealed in incoming:
                self._store(stored, sealed, head.epoch)
        except (Fork, Gap) as fault:
            raise CloudRefused(str(fault), status=409, problem=fault.code) from fault
        last = stored[-1]
        return sign(
            self.signer,
            RECEIPT_TYPE,
            Receipt(
                self._box, head.epoch, last.link.seq, last.hash.hex(), rfc3339(self._clock.wall()), nonce
            ),
        )

    def _store(self, stored: list[Sealed], sealed: Sealed, epoch: int) -> None:
        if sealed.link.seq <= len(stored):
            if stored[sealed.link.seq - 1].hash != sealed.hash:
                raise Fork(f"seq {sealed.link.seq} is stored with another hash")
            return
        end = Position(epoch, len(stored), stored[-1].hash if stored else GENESIS)
        event.follow(end, sealed, box=self._box)
        stored.append(sealed)

    def _hear(self, envelope: bytes) -> HeartbeatAnswer:
        self.heartbeats.append(verify(envelope, HEARTBEAT_TYPE, Heartbeat, self._box_keys))
        return HeartbeatAnswer(self.next_s, self.version, self.policy_in_force.version, self.pairing)

    def _transfer(self, since: int | None) -> bytes:
        if since is not None and not self.oldest_version <= since <= self.version:
            raise SnapshotRequired
        articles = [
            article
            for version, article in self._articles.values()
            if (not article.deleted if since is None else version > since)
        ]
        return b"".join(pack_transfer(write_transfer(Lead(self.version, since), articles)))

    def _perform(self, name: str, request: OperationRequest) -> OperationAnswer:
        if request.operation_id not in self.operations:
            answer = OperationAnswer(request.operation_id, name, rfc3339(self._clock.wall()))
            self.operations[request.operation_id] = (name, request, answer)
        known_name, known, answer = self.operations[request.operation_id]
        if (known_name, canonical(known)) != (name, canonical(request)):
            raise CloudRefused("another operation has this id", status=409, problem="operation-conflict")
        return answer

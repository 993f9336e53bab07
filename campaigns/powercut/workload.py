"""What a box does all day with its journal: sell at several tills, sell again what was sold, settle receipts.

Runs in a process of its own that may die at any moment. What it has promised it tells at once, line by line:
`try N` (sale N is about to be sent), `ack N EPOCH SEQ HASH`, `receipt EPOCH SEQ`, `fault` (the journal stopped), and
`wrong ...` when it sees a broken promise itself.
"""

import asyncio
import os
import random
from collections.abc import Iterator
from pathlib import Path

import msgspec

from appliance.domain import event as chain
from appliance.domain.errors import StorageFault, StoreboxError
from appliance.domain.statements import RECEIPT_TYPE, Receipt, sign
from appliance.runtime.clock import rfc3339
from appliance.runtime.database import read_only_uri
from appliance.storage.commit import Entry
from appliance.storage.journal import Journal, open_journal
from appliance.storage.outgoing import Outgoing, open_outgoing
from campaigns.powercut.children import Tell
from campaigns.powercut.plants import NONE, OPENERS
from campaigns.powercut.sales import BOX, CLOUD_SIGNER, OPENING, SEALER, draft_of

_AGAIN_SHARE, _SETTLE_SHARE = 0.1, 0.04
_TRIES_AFTER_FAULT = 3


class Job(msgspec.Struct, frozen=True):
    """One run: sales `first` to `first + sales - 1` at so many tills; `crash`: ends without closing anything."""

    seed: str
    first: int
    sales: int
    tills: int
    plant: str = NONE
    crash: bool = False


def run(path: Path, job: Job, tell: Tell) -> None:
    """Do the job; the journal's file stands at `path`. Raises StoreboxError when the journal does not open."""
    asyncio.run(_run(path, job, tell))


async def _run(path: Path, job: Job, tell: Tell) -> None:
    async with open_journal(path, SEALER, open_database=OPENERS[job.plant]) as journal:
        async with open_outgoing(read_only_uri(path)) as outgoing:
            day = _Day(journal, outgoing, job, tell)
            await asyncio.gather(*(day.till(index) for index in range(job.tills)))
        if job.crash:
            os._exit(0)


class _Day:
    def __init__(self, journal: Journal, outgoing: Outgoing, job: Job, tell: Tell) -> None:
        self._journal = journal
        self._outgoing = outgoing
        self._job = job
        self._tell = tell
        self._numbers: Iterator[int] = iter(range(job.first, job.first + job.sales))
        self._settling = asyncio.Lock()

    async def till(self, index: int) -> None:
        """Sell until the day's sales are sold, or the journal stops."""
        rng = random.Random(f"{self._job.seed}/{index}")
        try:
            for number in self._numbers:
                await self._sell(number, rng)
                if rng.random() < _SETTLE_SHARE:
                    await self._settle(rng)
        except StorageFault:
            self._tell("fault")
            await self._must_stay_stopped()

    async def _sell(self, number: int, rng: random.Random) -> None:
        draft = draft_of(number)
        self._tell(f"try {number}")
        entry = await self._journal.append(draft)
        self._tell(ack(number, entry))
        if rng.random() < _AGAIN_SHARE:
            again = await self._journal.append(draft)
            if again != entry._replace(known=True):
                self._tell(f"wrong: sale {number} sent again got another answer")

    async def _settle(self, rng: random.Random) -> None:
        async with self._settling:
            batch = await self._outgoing.next_batch(rng.randint(1, 100))
            if batch is None:
                return
            head = chain.digest(batch.bodies[-1]).hex()
            receipt = Receipt(BOX, batch.epoch, batch.last_seq, head, at=rfc3339(OPENING), nonce="0" * 32)
            await self._journal.settle(receipt, sign(CLOUD_SIGNER, RECEIPT_TYPE, receipt))
            self._tell(f"receipt {batch.epoch} {batch.last_seq}")

    async def _must_stay_stopped(self) -> None:
        for _ in range(_TRIES_AFTER_FAULT):
            for number in (self._job.first, self._job.first + self._job.sales):
                try:
                    await self._journal.append(draft_of(number))
                except StoreboxError:
                    continue
                self._tell(f"wrong: sale {number} was acked after the disk had failed")


def ack(number: int, entry: Entry) -> str:
    """The line that tells of an ack."""
    position = entry.position
    return f"ack {number} {position.epoch} {position.seq} {position.head.hex()}"

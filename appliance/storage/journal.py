"""The journal: every accepted event, chained, under signed heads, on disk before anybody hears of it.

Guarantees: what `append` returned is committed and fsynced, together with its place in the chain, its idempotency row
and the signed head of its group; events are never changed, and leave only after their retention (retention.py).

All drafts that wait share one transaction, one signature and one fsync (group commit): while the disk works on one
group, the next gathers. Checkpoints run between groups on the writer's own connection.
"""

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from appliance.domain import event as chain
from appliance.domain.canonical import canonical
from appliance.domain.errors import BadEvent, Busy, DiskFull, NotReady, SaleConflict, StorageFault
from appliance.domain.event import GENESIS, Position
from appliance.domain.statements import Receipt
from appliance.runtime.clock import AGREEMENT_S
from appliance.runtime.database import Writer, open_reader, open_writer
from appliance.runtime.migrations import migrate
from appliance.storage import journal_tables as tables
from appliance.storage.commit import Draft, Entry, Sealer, commit_group, known_sale, proven_end
from appliance.storage.packing import Packer
from appliance.storage.retention import prune, write_down
from appliance.storage.ticket_book import TicketBook
from appliance.storage.unchecked import Unchecked

log = logging.getLogger(__name__)

# One group: beyond 256 the fsync is shared thinly enough already, and its events must fit one batch on the wire.
GROUP_EVENTS_MAX = 256
GROUP_BYTES_MAX = 4 * 1024 * 1024
# Drafts that may wait for the disk: at 1 MB of a busy shop's sales the till should hear "try again".
QUEUE_MAX = 4_096
RETRY_AFTER_S = 1


class Journal:
    """Append to and look into the journal. Use `open_journal`."""

    def __init__(self, writer: Writer, reader: sqlite3.Connection, end: Position, sealer: Sealer) -> None:
        self._writer = writer
        self._reader = reader
        self._end = end
        self._sealer = sealer
        self._book, self._packer = TicketBook(), Packer()
        self._waiting: deque[tuple[Draft, asyncio.Future[Entry]]] = deque()
        self._wake, self._grew = asyncio.Event(), asyncio.Event()
        self._checkpointed, self._damaged = asyncio.Event(), asyncio.Event()
        # Run something short on the writer's thread between two groups: it returns only while that thread is not stuck.
        self.visit = writer.visit
        # How often events found no room on the disk; the event is set each time, and cleared by who watches the disk.
        self.refused_for_room, self.out_of_room = 0, asyncio.Event()
        # Old epochs that the cloud does not follow to their end: what is left of them is not waited for.
        self.stranded: set[int] = set()
        self._open = True
        self._unchecked, self._idle = Unchecked(sealer.clock), False

    @property
    def end(self) -> Position:
        """The end of the chain on disk."""
        return self._end

    @property
    def fault(self) -> str | None:
        """Why nothing can be accepted any more, or None."""
        return self._writer.fault

    async def append(self, draft: Draft) -> Entry:
        """Store an event for ever; on disk when this returns. A sale known with equal content gives its first entry.

        Raises SaleConflict (known, other content), Busy (queue full), NotReady (closing), DiskFull, StorageFault.
        """
        if not self._open:
            raise NotReady(retry_after_s=RETRY_AFTER_S)
        if len(self._waiting) >= QUEUE_MAX:
            raise Busy(retry_after_s=RETRY_AFTER_S)
        future: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        self._waiting.append((draft, future))
        self._wake.set()
        return await future

    async def record(self, kind: str, data: Any, *, till: str | None = None) -> None:
        """Append an event of the technical log. Raises like `append`."""
        await self.append(Draft(kind, canonical(data), till))

    async def open_epoch(self, epoch: int, data: Mapping[str, Any]) -> None:
        """Go on in another epoch, whose first event holds `data` and the rotations of the key. While nobody appends.

        Raises like `append`; the journal then goes on where it was.
        """
        before, self._end = self._end, Position(epoch, 0, GENESIS)
        try:
            await self.record("epoch_opened", self._sealer.opening(data))
        except BaseException:
            self._end = before
            raise

    async def settle(self, receipt: Receipt, envelope: bytes) -> None:
        """Keep a *verified* receipt. Raises BadEvent when this journal holds another event at its place."""
        body = tables.body_at(self._reader, tables.place_of(receipt.epoch, receipt.seq))
        if receipt.box != self._sealer.box or body is None or chain.digest(body).hex() != receipt.head:
            raise BadEvent(
                f"the receipt for {receipt.epoch}/{receipt.seq} names an event that is not in this journal"
            )
        await self._writer.transaction(lambda c: self._put_receipt(c, receipt, envelope))

    def _put_receipt(self, connection: sqlite3.Connection, receipt: Receipt, envelope: bytes) -> None:
        tables.put_receipt(connection, receipt.epoch, receipt.seq, envelope)
        at = datetime.fromisoformat(receipt.at)
        # Retention counts only from a time that both clocks agree on: one that jumped must not prune early.
        if abs((self._sealer.clock.wall() - at).total_seconds()) <= AGREEMENT_S:
            write_down(connection, tables.place_of(receipt.epoch, receipt.seq), int(at.timestamp()))

    async def prune(self, receipted_before: datetime, events_max: int) -> int:
        """Free some of the oldest events that the cloud held before a time (storage/retention.py); how many went.

        Raises ChainFault or BadSignature (what would go is not what this box wrote: nothing went), DiskFull, Busy,
        StorageFault.
        """
        before_s = int(receipted_before.timestamp())
        gone = await self._writer.transaction(
            lambda c: prune(c, self._sealer, self._book, receipted_before_s=before_s, events_max=events_max)
        )
        self._unchecked.add(gone)
        return gone

    def sale(self, sale_key: bytes) -> Entry | None:
        """The entry of a sale, if it is known."""
        return known_sale(self._reader, sale_key)

    def hash_at(self, epoch: int, seq: int) -> bytes | None:
        """The hash of the event at a place, if it is here."""
        body = tables.body_at(self._reader, tables.place_of(epoch, seq))
        return None if body is None else chain.digest(body)

    def signed_head(self) -> bytes | None:
        """The envelope of the newest signed head."""
        last = tables.last_head(self._reader)
        return None if last is None else last[1]

    def synced(self) -> dict[int, int]:
        """The last receipted seq of each epoch that has one."""
        return tables.receipts(self._reader)

    def backlog(self) -> int:
        """How many events the cloud has not receipted."""
        receipted = self.synced()
        ends = tables.epoch_ends(self._reader).items()
        return sum(seq - receipted.get(epoch, 0) for epoch, seq in ends if epoch not in self.stranded)

    def oldest_waiting(self) -> bytes | None:
        """The bytes of the first event that the cloud has not receipted, or None."""
        receipted = self.synced()
        for epoch, seq in tables.epoch_ends(self._reader).items():
            if (done := receipted.get(epoch, 0)) < seq and epoch not in self.stranded:
                return tables.body_at(self._reader, tables.place_of(epoch, done + 1))
        return None

    async def grown(self) -> None:
        """Wait until something has been appended since the last call returned."""
        await self._grew.wait()
        self._grew.clear()

    async def checkpointed(self) -> None:
        """Wait until a checkpoint has run since the last call returned: for what need not be done for each sale."""
        await self._checkpointed.wait()
        self._checkpointed.clear()

    async def damaged(self) -> str:
        """Wait until an event could not be stored since the file's content is wrong; why."""
        await self._damaged.wait()
        return str(self.fault)

    async def _commit_groups(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    await self._commit_group(self._take_group())
                    if self._unchecked.overdue:
                        await self._checkpoint()
                if self._idle:
                    self._idle = False
                    await self._checkpoint()
        finally:  # also after a bug: nobody waits for ever
            self._open = False
            for _, future in self._waiting:
                if not future.done():
                    future.set_exception(NotReady(retry_after_s=RETRY_AFTER_S))

    async def _find_idle_moments(self) -> None:
        while True:
            await self._unchecked.idle_moment()
            self._idle = True
            self._wake.set()

    def _take_group(self) -> list[tuple[Draft, asyncio.Future[Entry]]]:
        group: list[tuple[Draft, asyncio.Future[Entry]]] = []
        size = 0
        while self._waiting and len(group) < GROUP_EVENTS_MAX:
            size += len(self._waiting[0][0].data)
            if group and size > GROUP_BYTES_MAX:
                break
            group.append(self._waiting.popleft())
        return group

    async def _commit_group(self, group: list[tuple[Draft, asyncio.Future[Entry]]]) -> None:
        drafts = [draft for draft, _ in group]
        try:
            entries, end = await self._writer.transaction(
                lambda c: commit_group(c, self._sealer, self._end, drafts, self._book, self._packer)
            )
        except Exception as error:
            if self._writer.damaged:
                self._damaged.set()
            if isinstance(error, DiskFull):
                self.refused_for_room += 1
                self.out_of_room.set()
            # Each waiting caller gets the failure; the chain stands where it stood.
            for _, future in group:
                if not future.done():
                    future.set_exception(error)
            return
        self._unchecked.add(end.seq - self._end.seq)
        self._end = end
        self._grew.set()
        for (_, future), entry in zip(group, entries, strict=True):
            if future.done():
                continue
            if isinstance(entry, SaleConflict):
                future.set_exception(entry)
            else:
                future.set_result(entry)

    async def _checkpoint(self) -> None:
        try:
            if await self._writer.checkpoint("PASSIVE"):
                self._unchecked.clear()
                self._checkpointed.set()
        except Exception:
            # The commit itself was durable; the writer refuses further work if its file failed.
            log.exception("journal.checkpoint_failed")

    @asynccontextmanager
    async def _committing(self) -> AsyncIterator[None]:
        """Commit groups while inside; what was taken before leaving is finished first."""
        loops = {"journal": self._commit_groups(), "journal: idle": self._find_idle_moments()}
        tasks = [asyncio.create_task(loop, name=name) for name, loop in loops.items()]
        try:
            yield
        finally:
            self._open = False
            if pending := [future for _, future in self._waiting]:
                await asyncio.wait(pending)
            for task in tasks:
                task.cancel()
            for fallen in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(fallen, Exception):
                    raise fallen


@asynccontextmanager
async def open_journal(
    path: Path,
    sealer: Sealer,
    *,
    first_epoch: int = 1,
    opening: str = "enrolment",
    open_database: Callable[[Path], AbstractAsyncContextManager[Writer]] = open_writer,
) -> AsyncIterator[Journal]:
    """Open or create the journal of this box, prove its tail, and accept events while inside.

    Nothing is accepted before a TRUNCATE checkpoint succeeded: rows that a failed fsync left only in the page cache
    would otherwise be built upon and lost at the next power cut. A new journal begins with `first_epoch`, and says in
    its first event that `opening` is why. Only a campaign that plants mistakes gives another `open_database`. Raises
    StorageFault, BadEvent, SchemaTooNew.
    """
    async with open_database(path) as writer:
        await migrate(writer, tables.SCHEMA)
        if not await writer.checkpoint("TRUNCATE"):
            raise StorageFault(f"{path}: the WAL could not be checkpointed at start")
        reader = open_reader(path)
        try:
            end = proven_end(reader, sealer)
            journal = Journal(writer, reader, end or Position(first_epoch, 0, GENESIS), sealer)
            async with journal._committing():
                if end is None:
                    await journal.open_epoch(first_epoch, {"reason": opening})
                yield journal
        finally:
            reader.close()

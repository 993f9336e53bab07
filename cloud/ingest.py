"""Take in a batch of events: judge signature and chain, store all of it at once, then give the receipt.

Guarantees: an event is stored exactly once per (box, epoch, seq), in order, never changed; a receipt is signed only
after the commit, so it holds whatever happens next. The content of an event decides nothing here (projection.py).
"""

import asyncio
import logging
from collections.abc import Mapping

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from appliance.domain import batch, event, statements
from appliance.domain.dsse import Signer, read_envelope
from appliance.domain.errors import BadEvent, BadSignature, ChainFault, Fork, Gap
from appliance.domain.event import GENESIS, Position, Sealed
from appliance.domain.statements import HEAD_TYPE, RECEIPT_TYPE, Head, Keys, Receipt
from appliance.runtime.clock import Clock, rfc3339
from cloud import projection, rotation, store_events, store_exceptions, store_sales, store_updates
from cloud.database import Database
from cloud.projection import Reading

log = logging.getLogger(__name__)


class Examined(msgspec.Struct, frozen=True):
    """A batch whose signed head holds and names its last event; the readings run beside the events.

    `key_id` is of the key that signed the head.
    """

    head: Head
    key_id: str
    events: list[Sealed]
    readings: list[Reading]


def decide(stored: Position, hashes: Mapping[int, bytes], events: list[Sealed], *, box: str) -> list[Sealed]:
    """The events to append behind `stored`; empty when all of them are there already. Pure.

    `stored` is the end of the epoch in the books (seq 0 and GENESIS: never seen); `hashes` holds the stored hash of
    every place that the batch repeats. Raises BadEvent (another box or epoch), Fork, Gap (with `expected`).
    """
    first = events[0].link
    if first.seq > stored.seq + 1:
        raise Gap(
            f"epoch {stored.epoch} ends at seq {stored.seq} here; the batch starts at {first.seq}",
            epoch=stored.epoch,
            expected=stored.seq + 1,
        )
    before = stored.head if first.seq == stored.seq + 1 else bytes.fromhex(first.prev)
    end = Position(stored.epoch, first.seq - 1, before)
    for sealed in events:
        end = event.follow(end, sealed, box=box)
        if sealed.link.seq <= stored.seq and hashes.get(sealed.link.seq) != sealed.hash:
            raise Fork(
                f"seq {sealed.link.seq} of epoch {stored.epoch} is stored with another hash",
                epoch=stored.epoch,
                seq=sealed.link.seq,
            )
    # What is repeated equals what is stored, so the first new event hangs behind the stored end: follow() saw it.
    return events[max(0, stored.seq + 1 - first.seq) :]


def examine(body: bytes, keys: Keys, *, box: str) -> Examined:
    """Unpack and verify a batch; `keys` in their order, the last one is believed to sign now.

    Blocks for about 150 ms when it is full. Raises BadInput, BadSignature, BadEvent.
    """
    head_envelope, bodies = batch.unpack(body)
    key_id = read_envelope(head_envelope).signatures[0].keyid
    told = keys if key_id in keys else rotation.keys_told(box, event.read(bodies[0]), keys)
    head = statements.verify(head_envelope, HEAD_TYPE, Head, told)
    if head.box != box:
        raise BadSignature(f"the signed head is of {head.box}, not of {box}")
    events = [event.read(text) for text in bodies]
    last = events[-1]
    if any(sealed.link.box != box or sealed.link.epoch != head.epoch for sealed in events):
        raise BadEvent(f"a batch holds events of one box and one epoch: {box}, epoch {head.epoch}")
    if (last.link.epoch, last.link.seq, last.hash) != (head.epoch, head.seq, head.position.head):
        raise BadSignature("the signed head names another event than the last one of the batch")
    return Examined(head, key_id, events, [projection.read_event(text) for text in bodies])


class Ingest:
    """The way in for boxes."""

    def __init__(self, database: Database, signer: Signer, clock: Clock) -> None:
        self._database = database
        self._signer = signer
        self._clock = clock

    async def take(self, box: str, keys: Keys, body: bytes, nonce: str) -> bytes:
        """Store a batch and return the receipt's envelope. Raises BadInput, BadSignature, ChainFault, CannotAccept.

        `keys` holds every key that the box had. A fork or a gap is also written down for head office to see.
        """
        examined = await asyncio.to_thread(examine, body, keys, box=box)
        try:
            stored, added = await self._database.transaction(
                store, box, examined, rfc3339(self._clock.wall())
            )
        except (Fork, Gap) as fault:
            await self.write_down(box, examined.head, fault)
            raise
        log.info("batch.stored", extra={"box": box, "epoch": stored.epoch, "seq": stored.seq, "added": added})
        receipt = Receipt(
            box=box,
            epoch=stored.epoch,
            seq=stored.seq,
            head=stored.head.hex(),
            at=rfc3339(self._clock.wall()),
            nonce=nonce,
        )
        return statements.sign(self._signer, RECEIPT_TYPE, receipt)

    async def write_down(self, box: str, head: Head, fault: ChainFault) -> None:
        """Note a fork or a gap for head office to see, once for each broken place."""
        log.error(
            "batch.refused", extra={"box": box, "epoch": head.epoch, "seq": head.seq, "code": fault.code}
        )
        note = store_exceptions.Note(
            reason=fault.code,
            # A box asks again and again; one row for each broken place is enough.
            subject=f"{box}/{head.epoch}/{fault.fields.get('expected') or fault.fields['seq']}",
            at=rfc3339(self._clock.wall()),
            box=box,
            epoch=head.epoch,
            seq=head.seq,
            detail=str(fault),
        )
        await self._database.transaction(store_exceptions.add, [note])


async def store(connection: AsyncConnection, box: str, examined: Examined, at: str) -> tuple[Position, int]:
    """One transaction: the books as they are, the decision, the events and what they mean."""
    events = examined.events
    first, last = events[0].link.seq, examined.head.seq
    stored = await store_events.end_of(connection, box, examined.head.epoch)
    stored = stored or Position(examined.head.epoch, 0, GENESIS)
    hashes = await store_events.hashes(connection, box, stored.epoch, first, min(last, stored.seq))
    fresh = decide(stored, hashes, events, box=box)
    if not fresh:
        return stored, 0
    await rotation.check_signer(connection, box, examined.head.epoch, examined.key_id)
    end = examined.head.position
    await store_events.append(connection, box, fresh, end)
    await rotation.adopt(connection, box, fresh, examined.key_id, at)
    await keep_meaning(connection, box, fresh, examined.readings[len(events) - len(fresh) :], at)
    return end, len(fresh)


async def keep_meaning(
    connection: AsyncConnection, box: str, fresh: list[Sealed], readings: list[Reading], at: str
) -> None:
    """What new events mean to the back office: sales into the books, the ends of updates, the rest as notes."""
    known = await store_sales.digests(connection, [r.sale.sale_id for r in readings if r.sale is not None])
    found = projection.project(box, fresh, readings, known, at=at)
    await store_sales.add(connection, found.sales)
    await store_sales.count_copies(connection, found.copies)
    await store_updates.keep_outcomes(connection, found.outcomes)
    await store_exceptions.add(connection, found.notes)

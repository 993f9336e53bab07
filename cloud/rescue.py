"""Take in what a dead box's card still holds, brought by a technician of its shop or by head office.

Who brings it does not matter, its signatures do: a batch is judged as if the dead box had sent it. What follows the
stored chain goes into it. What stands behind a hole is proven by its signed head all the same: it is kept beside the
chain, its sales go into the books, and the hole is written down for head office to see.
"""

import asyncio
import logging

from sqlalchemy.ext.asyncio import AsyncConnection

from appliance.domain import event
from appliance.domain.errors import Fork, NotAllowed, NotFound
from appliance.domain.event import Position
from appliance.domain.wire import RescueAnswer, RescueView
from appliance.runtime.clock import Clock, rfc3339
from cloud import store_boxes, store_events, store_exceptions, store_loose
from cloud.auth import Caller
from cloud.database import Database
from cloud.ingest import Examined, Ingest, examine, keep_meaning, store
from cloud.rotation import check_signer, keys_of

log = logging.getLogger(__name__)


class RescueDesk:
    """The way in for dead boxes."""

    def __init__(self, database: Database, ingest: Ingest, clock: Clock) -> None:
        self._database = database
        self._ingest = ingest
        self._clock = clock

    async def look(self, caller: Caller, box: str) -> RescueView:
        """What is known of a dead box: its key, and how far its epochs are here. Raises NotFound, NotAllowed."""
        async with self._database.reading() as connection:
            shop = await store_boxes.shop_of(connection, box)
            public_key = await store_boxes.public_key(connection, box)
            epochs = await store_events.epochs(connection, box)
        if shop is None or public_key is None:
            raise NotFound(f"{box} is not enrolled here")
        if caller.role == "technician" and caller.shop != shop:
            raise NotAllowed(f"{box} is not of shop {caller.shop}")
        return RescueView(box, shop, public_key, epochs)

    async def take(self, caller: Caller, box: str, body: bytes) -> RescueAnswer:
        """Store a batch; on disk when this returns. Raises as Ingest.take and `look`, but no Gap."""
        await self.look(caller, box)
        examined = await asyncio.to_thread(examine, body, await keys_of(self._database, box), box=box)
        try:
            answer = await self._database.transaction(_store, box, examined, rfc3339(self._clock.wall()))
        except Fork as fault:
            await self._ingest.write_down(box, examined.head, fault)
            raise
        log.info(
            "batch.rescued", extra={"box": box, "by": caller.name, "seq": answer.seq, "added": answer.added}
        )
        return answer


async def _store(connection: AsyncConnection, box: str, examined: Examined, at: str) -> RescueAnswer:
    epoch, last = examined.head.epoch, examined.head.seq
    stored = await store_events.end_of(connection, box, epoch)
    if examined.events[0].link.seq <= (stored.seq if stored else 0) + 1:
        _, added = await store(connection, box, examined, at)
        return RescueAnswer(epoch, last, added, loose=False)
    await check_signer(connection, box, epoch, examined.key_id)
    return RescueAnswer(epoch, last, await _store_loose(connection, box, examined, at), loose=True)


async def _store_loose(connection: AsyncConnection, box: str, examined: Examined, at: str) -> int:
    events = examined.events
    first = events[0].link
    end = Position(first.epoch, first.seq - 1, bytes.fromhex(first.prev))
    for sealed in events:
        end = event.follow(end, sealed, box=box)
    known = await store_loose.hashes(connection, box, first.epoch, first.seq, end.seq)
    for sealed in events:
        if known.get(sealed.link.seq, sealed.hash) != sealed.hash:
            raise Fork(
                f"seq {sealed.link.seq} of epoch {first.epoch} is kept with another hash",
                epoch=first.epoch,
                seq=sealed.link.seq,
            )
    pairs = [
        (one, reading)
        for one, reading in zip(events, examined.readings, strict=True)
        if one.link.seq not in known
    ]
    fresh = [one for one, _ in pairs]
    await store_loose.add(connection, box, fresh)
    await keep_meaning(connection, box, fresh, [reading for _, reading in pairs], at)
    note = store_exceptions.Note(
        reason="rescued-behind-a-hole",
        subject=f"{box}/{first.epoch}/{first.seq}",
        at=at,
        box=box,
        epoch=first.epoch,
        seq=first.seq,
        detail=f"events {first.seq} to {end.seq} came from a card; what stands before them could not be read",
    )
    await store_exceptions.add(connection, [note])
    return len(fresh)

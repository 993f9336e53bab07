"""The books of loose events: proven by their box's signature, but behind others that nobody could read any more."""

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from appliance.domain.event import Sealed
from cloud.store_events import Body
from cloud.tables import loose_event


async def hashes(
    connection: AsyncConnection, box: str, number: int, first: int, last: int
) -> dict[int, bytes]:
    """The hash of each loose event from `first` to `last`."""
    query = select(loose_event.c.seq, loose_event.c.hash).where(
        loose_event.c.box == box, loose_event.c.epoch == number, loose_event.c.seq.between(first, last)
    )
    return {row.seq: row.hash for row in await connection.execute(query)}


async def add(connection: AsyncConnection, box: str, events: list[Sealed]) -> None:
    """Store events whose places are free."""
    rows = [
        {"box": box, "epoch": one.link.epoch, "seq": one.link.seq, "hash": one.hash, "body": one.body}
        for one in events
    ]
    if rows:
        await connection.execute(insert(loose_event), rows)


async def bodies(connection: AsyncConnection, box: str, number: int, after: int, limit: int) -> list[Body]:
    """Up to `limit` loose events behind `after`, in order."""
    query = (
        select(loose_event.c.seq, loose_event.c.body)
        .where(loose_event.c.box == box, loose_event.c.epoch == number, loose_event.c.seq > after)
        .order_by(loose_event.c.seq)
        .limit(limit)
    )
    return [Body(row.seq, row.body) for row in await connection.execute(query)]

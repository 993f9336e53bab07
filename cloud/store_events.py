"""The books of events: append-only chains, one per box and epoch."""

import msgspec
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from appliance.domain.event import Position, Sealed
from appliance.domain.wire import EpochRow
from cloud.bulk import add_rows
from cloud.tables import epoch, event


async def end_of(connection: AsyncConnection, box: str, number: int) -> Position | None:
    """Where an epoch ends in the books; None when it was never seen."""
    query = select(epoch.c.seq, epoch.c.head).where(epoch.c.box == box, epoch.c.epoch == number)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Position(number, row.seq, row.head)


async def hashes(
    connection: AsyncConnection, box: str, number: int, first: int, last: int
) -> dict[int, bytes]:
    """The stored hash of each place from `first` to `last`."""
    if last < first:
        return {}
    query = select(event.c.seq, event.c.hash).where(
        event.c.box == box, event.c.epoch == number, event.c.seq.between(first, last)
    )
    return {row.seq: row.hash for row in await connection.execute(query)}


async def append(connection: AsyncConnection, box: str, events: list[Sealed], end: Position) -> None:
    """Store events that follow the stored end, which becomes `end`."""
    rows = [(box, end.epoch, sealed.link.seq, sealed.hash, sealed.body) for sealed in events]
    await add_rows(connection, event, ("box", "epoch", "seq", "hash", "body"), rows)
    moved = await connection.execute(
        update(epoch).where(epoch.c.box == box, epoch.c.epoch == end.epoch).values(seq=end.seq, head=end.head)
    )
    if moved.rowcount == 0:
        row = {"box": box, "epoch": end.epoch, "seq": end.seq, "head": end.head}
        await connection.execute(insert(epoch), row)


async def epochs(connection: AsyncConnection, box: str | None = None) -> list[EpochRow]:
    """The end of every epoch of a box (None: of all boxes), oldest first."""
    query = select(epoch).order_by(epoch.c.box, epoch.c.epoch)
    if box is not None:
        query = query.where(epoch.c.box == box)
    return [EpochRow(row.box, row.epoch, row.seq, row.head.hex()) for row in await connection.execute(query)]


class Body(msgspec.Struct, frozen=True):
    """An event's place in its epoch, and its verbatim bytes."""

    seq: int
    body: bytes


_page = (
    select(event.c.seq, event.c.body)
    .where(
        event.c.box == bindparam("of_box"),
        event.c.epoch == bindparam("of_epoch"),
        event.c.seq > bindparam("after"),
    )
    .order_by(event.c.seq)
    .limit(bindparam("at_most"))
)


async def bodies(connection: AsyncConnection, box: str, number: int, after: int, limit: int) -> list[Body]:
    """Up to `limit` events behind `after`, in order."""
    where = {"of_box": box, "of_epoch": number, "after": after, "at_most": limit}
    return [Body(row.seq, row.body) for row in await connection.execute(_page, where)]

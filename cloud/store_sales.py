"""The books of sales: one row per sale id, for ever."""

from collections.abc import Mapping
from typing import Literal

import msgspec
from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from appliance.domain.sale import Sale
from appliance.domain.wire import CloudSaleRow
from cloud.bulk import add_rows
from cloud.tables import sale


class SaleRow(msgspec.Struct, frozen=True):
    """A sale as it goes into the books. `body` when the till brought it; a place when it came in an event."""

    sale_id: str
    sha256: bytes
    till_id: str
    business_date: str
    ticket_number: int
    total_minor: int
    currency: str
    training: bool
    flags: str
    via: Literal["box", "till"]
    stored_at: str
    box: str | None = None
    epoch: int | None = None
    seq: int | None = None
    body: bytes | None = None

    @staticmethod
    def of(
        content: Sale,
        sha256: bytes,
        *,
        flags: str,
        via: Literal["box", "till"],
        stored_at: str,
        box: str | None = None,
        epoch: int | None = None,
        seq: int | None = None,
        body: bytes | None = None,
    ) -> "SaleRow":
        """The row for a sale."""
        return SaleRow(
            sale_id=content.sale_id,
            sha256=sha256,
            till_id=content.till_id,
            business_date=content.business_date,
            ticket_number=content.ticket_number,
            total_minor=content.total_minor,
            currency=content.currency,
            training=content.training,
            flags=flags,
            via=via,
            stored_at=stored_at,
            box=box,
            epoch=epoch,
            seq=seq,
            body=body,
        )


class Known(msgspec.Struct, frozen=True):
    """What is in the books under a sale id."""

    sha256: bytes
    stored_at: str


_digests = select(sale.c.sale_id, sale.c.sha256).where(sale.c.sale_id.in_(bindparam("ids", expanding=True)))
_again = (
    update(sale).where(sale.c.sale_id == bindparam("id")).values(copies=sale.c.copies + bindparam("more"))
)


async def digests(connection: AsyncConnection, sale_ids: list[str]) -> dict[str, bytes]:
    """The content's digest of those sales that are known."""
    if not sale_ids:
        return {}
    return {row.sale_id: row.sha256 for row in await connection.execute(_digests, {"ids": sale_ids})}


async def find(connection: AsyncConnection, sale_id: str) -> Known | None:
    """What is known under one id."""
    query = select(sale.c.sha256, sale.c.stored_at).where(sale.c.sale_id == sale_id)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Known(row.sha256, row.stored_at)


async def add(connection: AsyncConnection, rows: list[SaleRow]) -> None:
    """Store sales whose ids are new."""
    if rows:
        await add_rows(
            connection, sale, SaleRow.__struct_fields__, [msgspec.structs.astuple(row) for row in rows]
        )


async def count_copies(connection: AsyncConnection, copies: Mapping[str, int]) -> None:
    """Note how often known sales came again."""
    if copies:
        await connection.execute(_again, [{"id": sale_id, "more": more} for sale_id, more in copies.items()])


async def page(connection: AsyncConnection, after: str, limit: int) -> list[CloudSaleRow]:
    """Up to `limit` sales whose ids sort behind `after`, in the order of their ids."""
    query = (
        select(*(sale.c[name] for name in CloudSaleRow.__struct_fields__))
        .where(sale.c.sale_id > after)
        .order_by(sale.c.sale_id)
        .limit(limit)
    )
    rows = (dict(row._mapping) for row in await connection.execute(query))
    return [CloudSaleRow(**{**row, "sha256": row["sha256"].hex()}) for row in rows]

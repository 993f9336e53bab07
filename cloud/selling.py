"""Take a sale straight from a till, into the books that boxes fill too: one id, one sale."""

import logging

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from appliance.domain.canonical import canonical
from appliance.domain.errors import SaleConflict, WrongTill
from appliance.domain.flags import flags
from appliance.domain.sale import Sale
from appliance.domain.wire import CloudSaleAnswer
from appliance.runtime.clock import Clock, rfc3339
from cloud import store_exceptions, store_sales
from cloud.database import Database
from cloud.projection import sale_digest
from cloud.store_exceptions import Note
from cloud.store_sales import SaleRow

log = logging.getLogger(__name__)


class Taken(msgspec.Struct, frozen=True):
    """The answer, and whether the sale was known before."""

    answer: CloudSaleAnswer
    known: bool


class SaleDesk:
    """The way in for tills."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def take(self, till: str, content: Sale) -> Taken:
        """Store a sale, or find it known. On disk when this returns.

        Raises WrongTill, and SaleConflict when the id is known with another content; both contents are kept.
        """
        if content.till_id != till:
            raise WrongTill(f"the token is of {till}, the sale of {content.till_id}")
        row = SaleRow.of(
            content,
            sale_digest(content),
            flags=canonical(flags(content)).decode(),
            via="till",
            stored_at=rfc3339(self._clock.wall()),
            body=content.encode(),
        )
        taken = await self._database.transaction(_take, row)
        if taken is None:
            log.warning("sale.conflict", extra={"sale_id": row.sale_id, "till": till})
            raise SaleConflict(f"sale {row.sale_id} is known with another content", sale_id=row.sale_id)
        return taken


async def _take(connection: AsyncConnection, row: SaleRow) -> Taken | None:
    """None: a conflict, written down."""
    known = await store_sales.find(connection, row.sale_id)
    if known is None:
        await store_sales.add(connection, [row])
        return Taken(CloudSaleAnswer(row.sale_id, row.stored_at), known=False)
    if known.sha256 == row.sha256:
        await store_sales.count_copies(connection, {row.sale_id: 1})
        return Taken(CloudSaleAnswer(row.sale_id, known.stored_at), known=True)
    note = Note(
        reason="sale-conflict",
        subject=f"{row.sale_id}/{row.sha256.hex()}",
        at=row.stored_at,
        till=row.till_id,
        sale_id=row.sale_id,
        detail=f"sale {row.sale_id} is known with another content",
        content=row.body,
    )
    await store_exceptions.add(connection, [note])
    return None

"""SQL of head office's desk: boxes as a technician sees them, who follows whom, tills, pairing orders, the audit."""

import msgspec
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from appliance.domain.enrolling import AuditRow
from appliance.domain.pairing import TillRecord
from cloud.tables import (
    audit,
    box,
    box_key,
    heartbeat,
    pairing_order,
    shop,
    succession,
    till_record,
)


class BoxRow(msgspec.Struct, frozen=True):
    """What is kept of one box; `public_key` is the one that signs now, `certificate` the PEM it was answered."""

    box: str
    shop: str
    shop_name: str
    public_key: str
    spki: str | None
    certificate: str | None
    enrolled_at: str
    revoked_at: str | None
    beat_at: str | None
    beat: bytes | None


class Followed(msgspec.Struct, frozen=True):
    """Who took a box's place; `envelope` is the signed statement."""

    new: str
    envelope: bytes


class Order(msgspec.Struct, frozen=True):
    """An order to open the pairing window."""

    order: str
    secret: str
    until: str


async def boxes(connection: AsyncConnection, *, name: str | None = None) -> list[BoxRow]:
    """Every box, or the one with this name, with its last heartbeat, by shop."""
    last = (
        select(func.max(heartbeat.c.number)).where(heartbeat.c.box == box.c.box).correlate(box)
    ).scalar_subquery()
    latest_key = (
        select(box_key.c.public_key)
        .where(box_key.c.box == box.c.box)
        .order_by(box_key.c.number.desc())
        .limit(1)
        .correlate(box)
    ).scalar_subquery()
    query = (
        select(
            box.c.box,
            box.c.shop,
            shop.c.name,
            func.coalesce(latest_key, box.c.public_key),
            box.c.tls_spki,
            box.c.certificate,
            box.c.enrolled_at,
            box.c.revoked_at,
            heartbeat.c.at,
            heartbeat.c.body,
        )
        .join_from(box, shop)
        .outerjoin(heartbeat, heartbeat.c.number == last)
        .order_by(box.c.shop, box.c.box)
    )
    if name is not None:
        query = query.where(box.c.box == name)
    return [BoxRow(*tuple(row)) for row in await connection.execute(query)]


async def revoke(connection: AsyncConnection, name: str, why: str, at: str) -> bool:
    """Believe a box no more; a pairing order ends with it. False: it was revoked already.

    Its token, where it has one, stays known: whoever brings it hears that the box was revoked.
    """
    done = await connection.execute(
        update(box)
        .where(box.c.box == name, box.c.revoked_at.is_(None))
        .values(revoked_at=at, revoked_why=why)
    )
    await connection.execute(delete(pairing_order).where(pairing_order.c.box == name))
    return done.rowcount > 0


async def tills_of(connection: AsyncConnection, name: str) -> list[TillRecord]:
    """The tills that a box last said it knows."""
    query = (
        select(till_record.c.till, till_record.c.name, till_record.c.spki)
        .where(till_record.c.box == name)
        .order_by(till_record.c.till)
    )
    return [TillRecord(*row) for row in await connection.execute(query)]


async def put_tills(connection: AsyncConnection, name: str, tills: list[TillRecord]) -> None:
    """Keep these as the tills of a box; those that were kept before and are not among them go."""
    await connection.execute(delete(till_record).where(till_record.c.box == name))
    if tills:
        rows = [{"box": name, **msgspec.structs.asdict(till)} for till in tills]
        await connection.execute(insert(till_record), rows)


async def find_succession(connection: AsyncConnection, old: str) -> Followed | None:
    """Who took the place of a box."""
    query = select(succession.c.new, succession.c.envelope).where(succession.c.old == old)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Followed(*row)


async def add_succession(connection: AsyncConnection, old: str, new: str, envelope: bytes) -> None:
    """Keep who took whose place."""
    await connection.execute(insert(succession), {"old": old, "new": new, "envelope": envelope})


async def put_order(connection: AsyncConnection, name: str, order: Order) -> None:
    """Keep an order to open pairing; it takes the place of the one before."""
    await connection.execute(delete(pairing_order).where(pairing_order.c.box == name))
    await connection.execute(insert(pairing_order), {"box": name, **msgspec.structs.asdict(order)})


async def find_order(connection: AsyncConnection, name: str) -> Order | None:
    """The order for a box; it may have ended."""
    kept = pairing_order.c
    query = select(kept.order, kept.secret, kept.until).where(kept.box == name)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Order(*row)


async def audit_page(connection: AsyncConnection, after: int, limit: int) -> list[AuditRow]:
    """What was done to who may come in, in the order in which it was done."""
    query = select(audit).where(audit.c.number > after).order_by(audit.c.number).limit(limit)
    return [
        AuditRow(row.number, row.at, row.who, row.action, row.subject, msgspec.json.decode(row.data))
        for row in await connection.execute(query)
    ]

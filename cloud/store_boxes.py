"""Who may come in: shops, boxes, tokens; and what boxes last said of themselves."""

import msgspec
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from cloud.tables import box, credential, enrol_token, heartbeat, shop

# An hour of reports at one each 30 s; what is older tells nothing about now.
HEARTBEATS_KEPT = 120


class Ticket(msgspec.Struct, frozen=True):
    """A claim as it is kept."""

    shop: str
    shop_name: str
    expires_at: str
    used_by: str | None
    used_at: str | None
    key_hash: str
    replaces: str


class Holder(msgspec.Struct, frozen=True):
    """Who holds a bearer token: a box, a till or a technician (`subject`) of a shop; until when, if not for good."""

    role: str
    shop: str
    subject: str
    token_sha256: bytes
    expires_at: str | None = None


async def name_shop(connection: AsyncConnection, number: str, name: str) -> None:
    """Make a shop, or give it a new name. An empty one changes nothing; a new shop is then called by its number."""
    if await connection.scalar(select(shop.c.shop).where(shop.c.shop == number)) is None:
        await connection.execute(insert(shop), {"shop": number, "name": name or number})
    elif name:
        await connection.execute(update(shop).where(shop.c.shop == number).values(name=name))


async def add_ticket(
    connection: AsyncConnection,
    token_sha256: bytes,
    number: str,
    expires_at: str,
    key_hash: str,
    replaces: str,
) -> None:
    """Keep a new claim for a shop that exists."""
    row = {
        "token_sha256": token_sha256,
        "shop": number,
        "expires_at": expires_at,
        "key_hash": key_hash,
        "replaces": replaces,
    }
    await connection.execute(insert(enrol_token), row)


async def find_ticket(connection: AsyncConnection, token_sha256: bytes) -> Ticket | None:
    """The claim with this digest."""
    kept = enrol_token.c
    query = (
        select(
            kept.shop,
            shop.c.name,
            kept.expires_at,
            kept.used_by,
            kept.used_at,
            kept.key_hash,
            kept.replaces,
        )
        .join_from(enrol_token, shop)
        .where(kept.token_sha256 == token_sha256)
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Ticket(*row)


async def use_ticket(connection: AsyncConnection, token_sha256: bytes, by: str, at: str) -> None:
    """Bind a claim to the box that used it; when it did first stays."""
    await connection.execute(
        update(enrol_token)
        .where(enrol_token.c.token_sha256 == token_sha256)
        .values(used_by=by, used_at=func.coalesce(enrol_token.c.used_at, at))
    )


async def put_box(connection: AsyncConnection, name: str, number: str, public_key: str, at: str) -> None:
    """Make a box known, or move it to another shop: its name comes from its key, so the key stays."""
    moved = await connection.execute(update(box).where(box.c.box == name).values(shop=number))
    if moved.rowcount == 0:
        row = {"box": name, "shop": number, "public_key": public_key, "enrolled_at": at}
        await connection.execute(insert(box), row)


async def shop_of(connection: AsyncConnection, name: str) -> str | None:
    """The shop that a box is of."""
    found: str | None = await connection.scalar(select(box.c.shop).where(box.c.box == name))
    return found


async def public_key(connection: AsyncConnection, name: str) -> str | None:
    """The PEM of the key that a box enrolled with."""
    found: str | None = await connection.scalar(select(box.c.public_key).where(box.c.box == name))
    return found


async def put_credential(connection: AsyncConnection, holder: Holder) -> None:
    """Give a box, a till or a technician a token; one it had before is no longer taken."""
    same = (credential.c.role == holder.role) & (credential.c.subject == holder.subject)
    if holder.role != "box":
        # Tills of two shops may both be called T1; a box has one name in the whole world.
        same &= credential.c.shop == holder.shop
    await connection.execute(delete(credential).where(same))
    await connection.execute(insert(credential), msgspec.structs.asdict(holder))


async def find_holder(connection: AsyncConnection, token_sha256: bytes) -> Holder | None:
    """Who holds the token with this digest."""
    names = (credential.c[name] for name in Holder.__struct_fields__)
    row = (
        await connection.execute(select(*names).where(credential.c.token_sha256 == token_sha256))
    ).one_or_none()
    return None if row is None else Holder(*row)


async def add_heartbeat(connection: AsyncConnection, name: str, at: str, body: bytes) -> None:
    """Keep what a box says of itself; only the last ones are kept."""
    await connection.execute(insert(heartbeat), {"box": name, "at": at, "body": body})
    oldest = (
        select(heartbeat.c.number)
        .where(heartbeat.c.box == name)
        .order_by(heartbeat.c.number.desc())
        .offset(HEARTBEATS_KEPT)
        .limit(1)
    )
    await connection.execute(
        delete(heartbeat).where(heartbeat.c.box == name, heartbeat.c.number <= oldest.scalar_subquery())
    )

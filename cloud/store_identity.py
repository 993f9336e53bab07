"""SQL of what a box proves itself by: its event keys, its TLS key and certificates, and whether it is believed."""

import msgspec
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from cloud.tables import box, box_key


class Standing(msgspec.Struct, frozen=True):
    """A box as its shop's member; `certificate` and `lan_certificate` are the PEM chains that it was last answered."""

    shop: str
    public_key: str
    tls_spki: str | None
    certificate: str | None
    lan_certificate: str | None
    csr_sha256: bytes | None
    revoked_at: str | None


class KeyRow(msgspec.Struct, frozen=True):
    """An event key of a box (PEM). `number` 0 is the first; `retired_epoch` is the one that told of the next key."""

    number: int
    fp: str
    public_key: str
    retired_epoch: int | None


async def standing(connection: AsyncConnection, name: str) -> Standing | None:
    """The box with this name."""
    columns = (box.c[field] for field in Standing.__struct_fields__)
    row = (await connection.execute(select(*columns).where(box.c.box == name))).one_or_none()
    return None if row is None else Standing(*row)


async def put_certificates(
    connection: AsyncConnection,
    name: str,
    *,
    tls_spki: str,
    certificate: str,
    lan_certificate: str,
    csr_sha256: bytes,
) -> None:
    """Keep what a box was certified for last; only this TLS key is believed from now on."""
    await connection.execute(
        update(box)
        .where(box.c.box == name)
        .values(
            tls_spki=tls_spki,
            certificate=certificate,
            lan_certificate=lan_certificate,
            csr_sha256=csr_sha256,
        )
    )


async def rotated_keys(connection: AsyncConnection, name: str) -> list[KeyRow]:
    """Every event key of a box that has changed it, the first one too, in order; empty for one that never did."""
    columns = (box_key.c[field] for field in KeyRow.__struct_fields__)
    query = select(*columns).where(box_key.c.box == name).order_by(box_key.c.number)
    return [KeyRow(*row) for row in await connection.execute(query)]


async def owner_of_key(connection: AsyncConnection, fp: str) -> tuple[str, KeyRow] | None:
    """The box that has or had this event key, if it is one of a box that has changed its key."""
    columns = (box_key.c[field] for field in KeyRow.__struct_fields__)
    query = select(box_key.c.box, *columns).where(box_key.c.fp == fp)
    row = (await connection.execute(query)).first()
    return None if row is None else (row[0], KeyRow(*row[1:]))


async def add_key(connection: AsyncConnection, name: str, row: KeyRow) -> None:
    """Keep a key of a box."""
    await connection.execute(insert(box_key), {"box": name, **msgspec.structs.asdict(row)})


async def retire_key(connection: AsyncConnection, name: str, number: int, epoch: int) -> None:
    """From now on a key signs nothing new in this epoch, nor in a later one."""
    await connection.execute(
        update(box_key).where(box_key.c.box == name, box_key.c.number == number).values(retired_epoch=epoch)
    )

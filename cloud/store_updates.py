"""SQL of updates: bundles, rollouts, and what became of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Select, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from cloud.tables import bundle, rollout, update_outcome

BACK = "update_rolled_back"


class Bundle(msgspec.Struct, frozen=True):
    """A bundle that boxes can be offered."""

    number: int
    version: str
    compatible: str
    sha256: str
    size: int
    floor: str
    notes: msgspec.Raw
    at: str


class Rollout(msgspec.Struct, frozen=True):
    """Who gets a bundle, until it is halted."""

    number: int
    bundle: int
    boxes: list[str]
    shops: list[str]
    percent: int
    halt_after: int
    at: str
    halted_at: str | None
    halted_why: str | None


class Outcome(msgspec.Struct, frozen=True):
    """What became of a rollout on one box; `kind` is the event of the box that says so."""

    box: str
    rollout: int
    kind: str
    version: str
    reason: str
    detail: str
    at: str


async def add_bundle(connection: AsyncConnection, values: dict[str, object]) -> Bundle:
    """Keep a bundle; the one that is there when it has the same hash."""
    known = await find_bundle(connection, sha256=str(values["sha256"]))
    if known is None:
        await connection.execute(insert(bundle), values)
        known = await find_bundle(connection, sha256=str(values["sha256"]))
    assert known is not None
    return known


async def find_bundle(
    connection: AsyncConnection, *, sha256: str | None = None, number: int | None = None
) -> Bundle | None:
    """The bundle with this hash or number."""
    wanted = bundle.c.sha256 == sha256 if number is None else bundle.c.number == number
    row = (await connection.execute(_bundles().where(wanted))).one_or_none()
    return None if row is None else _bundle(row._mapping)


async def bundles(connection: AsyncConnection) -> list[Bundle]:
    """All of them, the newest first."""
    rows = await connection.execute(_bundles().order_by(bundle.c.number.desc()))
    return [_bundle(row._mapping) for row in rows]


async def add_rollout(connection: AsyncConnection, values: dict[str, object]) -> int:
    """Begin a rollout; its number."""
    await connection.execute(insert(rollout), values)
    number: int | None = await connection.scalar(select(func.max(rollout.c.number)))
    assert number is not None
    return number


async def rollouts(connection: AsyncConnection, *, going: bool = False) -> list[Rollout]:
    """All of them, or those that nobody halted; the newest first."""
    query = select(*(rollout.c[name] for name in Rollout.__struct_fields__)).order_by(rollout.c.number.desc())
    if going:
        query = query.where(rollout.c.halted_at.is_(None))
    found = []
    for row in await connection.execute(query):
        values = dict(row._mapping)
        names = {key: msgspec.json.decode(values[key], type=list[str]) for key in ("boxes", "shops")}
        found.append(Rollout(**{**values, **names}))
    return found


async def widen(connection: AsyncConnection, number: int, percent: int) -> None:
    """Give a rollout's ring another size."""
    await connection.execute(update(rollout).where(rollout.c.number == number).values(percent=percent))


async def halt(connection: AsyncConnection, number: int, why: str, at: str) -> None:
    """Offer it to nobody any more; the first reason stays."""
    await connection.execute(
        update(rollout)
        .where(rollout.c.number == number, rollout.c.halted_at.is_(None))
        .values(halted_at=at, halted_why=why)
    )


async def keep_outcomes(connection: AsyncConnection, outcomes: Sequence[Outcome]) -> None:
    """Keep what boxes say; of one box and rollout the last word counts. Enough failures halt the rollout."""
    for said in outcomes:
        same = (update_outcome.c.box == said.box) & (update_outcome.c.rollout == said.rollout)
        # PostgreSQL keeps no NUL in text.
        values = {
            key: value.replace("\0", "") if isinstance(value, str) else value
            for key, value in msgspec.structs.asdict(said).items()
        }
        changed = await connection.execute(update(update_outcome).where(same).values(**values))
        if changed.rowcount == 0:
            await connection.execute(insert(update_outcome), values)
        if said.kind == BACK:
            await _halt_when_failing(connection, said)


async def _halt_when_failing(connection: AsyncConnection, said: Outcome) -> None:
    failed = await connection.scalar(
        select(func.count()).where(update_outcome.c.rollout == said.rollout, update_outcome.c.kind == BACK)
    )
    bound = await connection.scalar(select(rollout.c.halt_after).where(rollout.c.number == said.rollout))
    if bound is not None and failed is not None and failed >= bound:
        await halt(connection, said.rollout, f"{failed} boxes went back", said.at)


async def outcomes(
    connection: AsyncConnection, *, box: str | None = None, number: int | None = None
) -> list[Outcome]:
    """What became of rollouts, of all boxes or one, the newest rollout first."""
    query = select(*(update_outcome.c[name] for name in Outcome.__struct_fields__)).order_by(
        update_outcome.c.rollout.desc(), update_outcome.c.box
    )
    if box is not None:
        query = query.where(update_outcome.c.box == box)
    if number is not None:
        query = query.where(update_outcome.c.rollout == number)
    return [Outcome(*row) for row in await connection.execute(query)]


def _bundles() -> Select[Any]:
    return select(*(bundle.c[name] for name in Bundle.__struct_fields__))


def _bundle(row: Mapping[Any, Any]) -> Bundle:
    return Bundle(**{**row, "notes": msgspec.Raw(row["notes"])})

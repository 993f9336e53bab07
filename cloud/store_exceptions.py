"""What the back office could not digest: written down once, shown to head office, never thrown away."""

import msgspec
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from cloud.tables import exception

# Enough to say what is wrong; the bytes themselves are kept elsewhere or in `content`.
DETAIL_MAX = 500


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """One exception. `reason` and `subject` together are its name: the same one again adds nothing."""

    reason: str
    subject: str
    at: str
    detail: str
    box: str | None = None
    epoch: int | None = None
    seq: int | None = None
    till: str | None = None
    sale_id: str | None = None
    content: bytes | None = None


class ExceptionRow(msgspec.Struct, frozen=True):
    """An exception as head office reads it. `content` is the JSON that came, when no event holds it."""

    number: int
    reason: str
    at: str
    box: str | None
    epoch: int | None
    seq: int | None
    till: str | None
    sale_id: str | None
    detail: str
    content: msgspec.Raw | None


async def add(connection: AsyncConnection, notes: list[Note]) -> None:
    """Write down those that are not yet written down."""
    if not notes:
        return
    query = select(exception.c.reason, exception.c.subject).where(
        exception.c.subject.in_([note.subject for note in notes])
    )
    known = {(row.reason, row.subject) for row in await connection.execute(query)}
    fresh = [_values(note) for note in notes if (note.reason, note.subject) not in known]
    if fresh:
        await connection.execute(insert(exception), fresh)


def _values(note: Note) -> dict[str, object]:
    # PostgreSQL keeps no NUL in text, and an error may quote one.
    return {**msgspec.structs.asdict(note), "detail": note.detail.replace("\0", "")[:DETAIL_MAX]}


async def page(connection: AsyncConnection, after: int, limit: int) -> list[ExceptionRow]:
    """Up to `limit` exceptions behind number `after`, oldest first."""
    query = (
        select(*(exception.c[name] for name in ExceptionRow.__struct_fields__))
        .where(exception.c.number > after)
        .order_by(exception.c.number)
        .limit(limit)
    )
    rows = (dict(row._mapping) for row in await connection.execute(query))
    return [ExceptionRow(**{**row, "content": _raw(row["content"])}) for row in rows]


def _raw(content: bytes | None) -> msgspec.Raw | None:
    return None if content is None else msgspec.Raw(content)


async def count_by_box(connection: AsyncConnection) -> dict[str, int]:
    """How many exceptions concern each box."""
    query = (
        select(exception.c.box, func.count()).where(exception.c.box.is_not(None)).group_by(exception.c.box)
    )
    return {row[0]: row[1] for row in await connection.execute(query)}

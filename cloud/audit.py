"""The audit: who did what to who may come in. A row is part of the transaction that does it, and holds no secret."""

from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from appliance.domain.canonical import canonical
from cloud.tables import audit


async def note(
    connection: AsyncConnection, who: str, action: str, subject: str, data: dict[str, Any], *, at: str
) -> None:
    """Write down that `who` did `action` (e.g. `box-revoked`) to `subject` (a box, a claim, a till) at that instant."""
    row = {"at": at, "who": who, "action": action, "subject": subject, "data": canonical(data)}
    await connection.execute(insert(audit), row)


async def note_once(
    connection: AsyncConnection, who: str, action: str, subject: str, data: dict[str, Any], *, at: str
) -> None:
    """The same for what a stranger can do again and again: only the first time."""
    query = select(audit.c.number).where(audit.c.action == action, audit.c.subject == subject).limit(1)
    if await connection.scalar(query) is None:
        await note(connection, who, action, subject, data, at=at)

"""The policy in force, as the cloud signed it: one row of mirror.db."""

import sqlite3

from appliance.runtime.database import Writer


class Policies:
    """Keep the envelope of the last policy. It is verified by whoever loads it, not here."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def load(self) -> bytes | None:
        """The envelope kept, or None. Raises StorageFault."""
        return await self._writer.transaction(_load)

    async def save(self, version: int, envelope: bytes) -> None:
        """Replace the envelope; on disk when this returns. Raises DiskFull, StorageFault."""
        await self._writer.transaction(lambda connection: _save(connection, version, envelope))


def _load(connection: sqlite3.Connection) -> bytes | None:
    row = connection.execute("SELECT envelope FROM policy WHERE id = 1").fetchone()
    return None if row is None else bytes(row[0])


def _save(connection: sqlite3.Connection, version: int, envelope: bytes) -> None:
    connection.execute(
        "INSERT INTO policy (id, version, envelope) VALUES (1, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET version = excluded.version, envelope = excluded.envelope",
        (version, envelope),
    )

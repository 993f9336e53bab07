"""Hand the catalogue to boxes and tills: one prepared file per version and starting point, made once for the fleet."""

import asyncio
from collections import defaultdict
from pathlib import Path

from sqlalchemy import Connection

from appliance.domain.catalogue import Lead, frame_transfer, pack_transfer
from appliance.domain.errors import SnapshotRequired
from cloud import store_catalogue
from cloud.database import Database

# Shops that were closed for different times ask for different changes; the rest is made again when asked.
PREPARED_MAX = 16


class Shelf:
    """Prepared transfers in a directory of their own."""

    def __init__(self, database: Database, directory: Path) -> None:
        self._database = database
        self._directory = directory
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def clear(self) -> None:
        """Begin with an empty directory: what an earlier run prepared may belong to another database."""
        await asyncio.to_thread(_empty, self._directory)

    async def version(self) -> int:
        """The version in force; 0 when nothing was ever published."""
        async with self._database.reading() as connection:
            return await store_catalogue.version_in_force(connection)

    async def transfer(self, since: int | None) -> Path:
        """A file with the snapshot (None) or with the changes since a version, as one zstd frame of NDJSON.

        Raises SnapshotRequired when no catalogue of head office ever had that version.
        """
        version = await self.version()
        if since is not None and since > version:
            raise SnapshotRequired(f"the catalogue is at version {version}", version=version)
        start = "snapshot" if since is None else f"changes-{since}"
        path = self._directory / f"{version}-{start}.transfer"
        async with self._turns[start]:
            if not await asyncio.to_thread(path.exists):
                await self._database.read_in_thread(lambda connection: _prepare(connection, path, since))
        return path


def _prepare(connection: Connection, path: Path, since: int | None) -> None:
    """Write a transfer whole or not at all. A version published meanwhile is in it, and its lead says so."""
    for old in sorted(path.parent.iterdir(), key=lambda file: file.stat().st_mtime)[: -PREPARED_MAX + 1]:
        old.unlink(missing_ok=True)
    beside = path.with_suffix(".new")
    lead = Lead(version=store_catalogue.version_now(connection), since=since)
    with beside.open("wb") as file:
        file.writelines(pack_transfer(frame_transfer(lead, store_catalogue.blocks(connection, since))))
    beside.replace(path)


def _empty(directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    for old in directory.iterdir():
        old.unlink()

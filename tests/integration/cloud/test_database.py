"""One writer at a time, whole transactions, and no receipt from a disk that failed."""

import asyncio
import contextlib
import fcntl
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from appliance.domain.errors import DiskFull, StorageFault
from cloud.database import Database, alone, open_database
from cloud.migrate import migrate


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    def prepare() -> None:
        with alone(tmp_path / "cloud.db"):
            migrate(tmp_path / "cloud.db")

    await asyncio.to_thread(prepare)
    async with open_database(tmp_path / "cloud.db") as opened:
        yield opened


async def add_shop(connection: AsyncConnection, number: str, name: str = "a") -> None:
    await connection.exec_driver_sql("INSERT INTO shop VALUES (?, ?)", (number, name))


async def shops(database: Database) -> list[str]:
    async with database.reading() as connection:
        return [row[0] for row in await connection.exec_driver_sql("SELECT shop FROM shop ORDER BY shop")]


async def test_an_exception_undoes_the_whole_transaction(database: Database) -> None:
    async def work(connection: AsyncConnection) -> None:
        await add_shop(connection, "S1")
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError):
        await database.transaction(work)

    assert await shops(database) == []


async def test_a_caller_that_goes_away_does_not_undo_the_work(database: Database) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def work(connection: AsyncConnection) -> None:
        await add_shop(connection, "S1")
        begun.set()
        await go_on.wait()
        await add_shop(connection, "S2")

    caller = asyncio.create_task(database.transaction(work))
    await begun.wait()
    caller.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await caller
    go_on.set()
    await database.transaction(add_shop, "S3")

    assert await shops(database) == ["S1", "S2", "S3"]


async def test_a_writer_waits_for_the_turn_of_another_program(database: Database, tmp_path: Path) -> None:
    # The lock belongs to an open file: another one of the same file stands for another program.
    with (tmp_path / "cloud.db.turn").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        writing = asyncio.create_task(database.transaction(add_shop, "S1"))
        assert await shops(database) == []  # readers do not wait
        assert not writing.done()
        fcntl.flock(other, fcntl.LOCK_UN)
        await writing

    assert await shops(database) == ["S1"]


async def test_a_full_disk_refuses_and_the_next_transaction_can_pass(database: Database) -> None:
    async def fill(connection: AsyncConnection) -> None:
        await connection.exec_driver_sql("PRAGMA max_page_count=1")
        await add_shop(connection, "S1", "x" * 500_000)

    with pytest.raises(DiskFull):
        await database.transaction(fill)
    database.check()

    await database.transaction(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count=100000"))
    await database.transaction(add_shop, "S2")
    assert await shops(database) == ["S2"]


async def test_after_the_disk_failed_nothing_is_written_any_more(database: Database, tmp_path: Path) -> None:
    def damage() -> None:
        with contextlib.closing(sqlite3.connect(tmp_path / "cloud.db")) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            size = connection.execute("PRAGMA page_size").fetchone()[0]
        with (tmp_path / "cloud.db").open("r+b") as file:
            file.seek(size)
            file.write(b"\xff" * 60 * size)

    await asyncio.to_thread(damage)

    with pytest.raises(StorageFault):
        await database.transaction(add_shop, "S1")
    with pytest.raises(StorageFault):
        database.check()
    with pytest.raises(StorageFault):
        await database.transaction(add_shop, "S2")


async def test_a_broken_rule_of_the_tables_is_a_bug_and_no_fault_of_the_disk(database: Database) -> None:
    await database.transaction(add_shop, "S1")

    with pytest.raises(DBAPIError):
        await database.transaction(add_shop, "S1")

    database.check()

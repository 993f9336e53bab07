"""A disk that fails is told of, and never trusted again."""

import itertools
import resource
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.domain.errors import Busy, DiskFull, StorageFault
from appliance.runtime.database import Writer, open_writer
from tests.conftest import require
from tests.fakes.tables import make_tables, pragma, write, written


def damage(path: Path) -> None:
    """Overwrite all of a database but its first page."""
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))


async def test_a_full_database_is_told_rolled_back_and_can_go_on_once_there_is_room(
    writer: Writer, path: Path
) -> None:
    await writer.transaction(write(1))
    await writer.transaction(pragma("max_page_count=20"))
    with pytest.raises(DiskFull):
        await writer.transaction(write(2, 200_000))

    assert written(path) == {1}
    assert writer.fault is None
    await writer.transaction(pragma("max_page_count=1000"))
    assert await writer.transaction(write(2, 200_000)) == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    require("mount", root=True)
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "storebox-test", str(disk)], check=False
    )
    if mounted.returncode != 0:
        pytest.skip("may not mount here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


async def write_until_full(writer: Writer) -> int:
    """How many sales fitted."""
    for number in itertools.count():
        try:
            await writer.transaction(write(number, 10_000))
        except DiskFull:
            return number
    raise AssertionError


async def test_a_full_disk_is_told_and_a_freed_ballast_gets_the_box_going_again(small_disk: Path) -> None:
    path, ballast = small_disk / "journal.db", small_disk / "ballast"
    ballast.write_bytes(bytes(300_000))
    async with open_writer(path) as writer:
        await writer.transaction(make_tables)
        told = await write_until_full(writer)
        assert written(path) == set(range(told))
        assert writer.fault is None

        # Nor can what is in the WAL be moved out of it: without the ballast this would be a dead end.
        with pytest.raises(DiskFull):
            await writer.checkpoint("TRUNCATE")
        ballast.unlink()
        assert await writer.transaction(write(told, 10_000)) == told

    assert written(path) == set(range(told + 1))


@contextmanager
def no_file_grows_beyond(size: int) -> Iterator[None]:
    """Let the kernel refuse writes beyond that offset (EFBIG): to SQLite, an I/O error like any other."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_after_an_io_error_nothing_more_is_accepted_though_the_disk_seems_well_again(
    writer: Writer, path: Path
) -> None:
    await writer.transaction(write(1, 2_000_000))
    with no_file_grows_beyond(4_000_000), pytest.raises(StorageFault, match="IOERR"):
        await writer.transaction(write(2, 4_000_000))

    assert writer.fault is not None
    for _ in range(2):
        with pytest.raises(StorageFault, match="IOERR"):
            await writer.transaction(write(3))
        with pytest.raises(StorageFault, match="IOERR"):
            await writer.checkpoint("PASSIVE")
    assert written(path) == {1}


async def test_an_io_error_of_a_checkpoint_ends_the_writer_too(writer: Writer) -> None:
    await writer.transaction(write(1, 3_000_000))
    with no_file_grows_beyond(1_000_000), pytest.raises(StorageFault, match="IOERR"):
        await writer.checkpoint("TRUNCATE")

    with pytest.raises(StorageFault):
        await writer.transaction(write(2))


async def test_a_corrupt_page_ends_the_writer(path: Path) -> None:
    async with open_writer(path) as writer:
        await writer.transaction(make_tables)
        for number in range(200):
            await writer.transaction(write(number, 500))
    damage(path)

    async with open_writer(path) as writer:
        with pytest.raises(StorageFault, match="CORRUPT"):
            await writer.transaction(write(1_000))
        assert "CORRUPT" in (writer.fault or "")
        with pytest.raises(StorageFault):
            await writer.transaction(lambda _: None)


async def test_a_transaction_that_cannot_be_undone_ends_the_writer(writer: Writer) -> None:
    with pytest.raises(sqlite3.ProgrammingError):
        await writer.transaction(lambda connection: connection.close())

    assert "rollback failed" in (writer.fault or "")
    with pytest.raises(StorageFault):
        await writer.transaction(write(1))


async def test_a_file_held_by_another_process_is_busy_and_no_fault(writer: Writer, path: Path) -> None:
    await writer.transaction(pragma("busy_timeout=0"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Busy):
        await writer.transaction(write(1))
    other.close()

    assert writer.fault is None
    assert await writer.transaction(write(1)) == 1

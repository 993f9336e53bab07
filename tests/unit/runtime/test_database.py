"""One writer: whole or not at all, on disk when told so, and honest about a disk that fails."""

import asyncio
import itertools
import resource
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from appliance.domain.errors import Busy, DiskFull, StorageFault
from appliance.runtime.database import Writer, open_reader, open_writer
from tests.conftest import require
from tests.fakes.tasks import until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
async def writer(path: Path) -> AsyncIterator[Writer]:
    """A writer with two empty tables whose rows belong together."""
    async with open_writer(path) as writer:
        await writer.transaction(make_tables)
        yield writer


def make_tables(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE sale (id INTEGER PRIMARY KEY, body BLOB)")
    connection.execute("CREATE TABLE event (id INTEGER PRIMARY KEY REFERENCES sale)")


def write(number: int, size: int = 100) -> Callable[[sqlite3.Connection], int]:
    """A unit of work: a sale and its event."""

    def work(connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO sale VALUES (?, randomblob(?))", (number, size))
        connection.execute("INSERT INTO event VALUES (?)", (number,))
        return number

    return work


def written(path: Path) -> set[int]:
    """The ids on disk, as another connection sees them; sales and events must agree."""
    reader = open_reader(path)
    try:
        sales = {row[0] for row in reader.execute("SELECT id FROM sale")}
        assert {row[0] for row in reader.execute("SELECT id FROM event")} == sales
    finally:
        reader.close()
    return sales


def pragma(name: str) -> Callable[[sqlite3.Connection], Any]:
    return lambda connection: connection.execute(f"PRAGMA {name}").fetchone()[0]


def size_of(path: Path) -> int:
    return path.stat().st_size


def damage(path: Path) -> None:
    """Overwrite all of a database but its first page."""
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))


def is_open(path: Path) -> bool:
    """Whether this process still has the database or its WAL open."""
    # A descriptor may be gone between the look and the reading of it.
    links = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return any(link.name.startswith(path.name) for link in links)


def writing_threads(path: Path) -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith(f"write-{path.name}")]


# --- what was written


async def test_what_a_transaction_returns_is_given_and_what_it_wrote_is_there(
    writer: Writer, path: Path
) -> None:
    assert await writer.transaction(write(1)) == 1
    assert written(path) == {1}


async def test_a_commit_is_on_disk_before_it_is_told(writer: Writer) -> None:
    # FULL fsyncs the WAL at each commit (sqlite.org/pragma.html#pragma_synchronous).
    assert await writer.transaction(pragma("journal_mode")) == "wal"
    assert await writer.transaction(pragma("synchronous")) == 2
    assert await writer.transaction(pragma("foreign_keys")) == 1


async def test_the_wal_is_checkpointed_only_when_asked(writer: Writer, path: Path) -> None:
    wal = path.with_name(path.name + "-wal")
    await writer.transaction(write(1, 8_000_000))  # twice what SQLite lets gather by default

    assert size_of(wal) > 8_000_000 > size_of(path)
    assert await writer.checkpoint("TRUNCATE")
    assert size_of(wal) == 0
    assert size_of(path) > 8_000_000


async def test_work_that_fails_leaves_nothing_and_its_error_is_given(writer: Writer, path: Path) -> None:
    class Refused(Exception):
        pass

    def refuse(connection: sqlite3.Connection) -> None:
        write(1)(connection)
        raise Refused

    with pytest.raises(Refused):
        await writer.transaction(refuse)
    with pytest.raises(sqlite3.IntegrityError):
        await writer.transaction(lambda c: (write(2)(c), write(2)(c)))

    assert written(path) == set()
    assert writer.fault is None
    assert await writer.transaction(write(3)) == 3


async def test_work_that_ends_the_transaction_itself_is_an_error_and_not_a_silent_success(
    writer: Writer,
) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no transaction"):
        await writer.transaction(lambda c: c.execute("COMMIT"))

    assert await writer.transaction(write(1)) == 1


async def test_units_of_work_run_one_after_another_in_the_order_they_came(writer: Writer) -> None:
    order: list[int] = []

    def note(number: int) -> Callable[[sqlite3.Connection], None]:
        return lambda _: order.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(100):
            group.create_task(writer.transaction(note(number)))

    assert order == list(range(100))


async def test_the_loop_runs_on_while_the_disk_works(writer: Writer) -> None:
    started, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow(_: sqlite3.Connection) -> None:
        loop.call_soon_threadsafe(started.set)
        assert go_on.wait(20)

    task = asyncio.create_task(writer.transaction(slow))
    await started.wait()  # the loop turns although the writer does not
    assert not task.done()
    go_on.set()
    await task


# --- cancellation


@pytest.mark.parametrize("seed", range(5))
async def test_a_storm_of_cancellations_tears_nothing(writer: Writer, path: Path, seed: int) -> None:
    rng = Random(seed)
    tasks = []
    for number in range(400):
        tasks.append(asyncio.create_task(writer.transaction(write(number))))
        for _ in range(rng.choice([0, 0, 0, 1, 3])):
            await asyncio.sleep(0)
        if rng.random() < 0.7:
            rng.choice(tasks).cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    told = {result for result in results if isinstance(result, int)}
    cancelled = sum(isinstance(result, asyncio.CancelledError) for result in results)
    assert len(told) + cancelled == 400
    assert min(len(told), cancelled) > 20
    # `written` also checks that no sale is without its event. More may be there than was told, never less.
    await writer.transaction(pragma("user_version"))
    assert told <= written(path)
    # No transaction is left open: a checkpoint that truncates needs everybody out.
    assert await writer.checkpoint("TRUNCATE")


async def test_work_that_has_begun_is_finished_though_its_caller_is_gone(writer: Writer, path: Path) -> None:
    started, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow(connection: sqlite3.Connection) -> None:
        loop.call_soon_threadsafe(started.set)
        assert go_on.wait(20)
        write(1)(connection)

    task = asyncio.create_task(writer.transaction(slow))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    await writer.transaction(write(2))

    assert written(path) == {1, 2}


# --- opening and closing


async def test_leaving_the_block_closes_the_file_and_ends_the_thread(path: Path) -> None:
    async with open_writer(path) as writer:
        await writer.transaction(make_tables)
        assert is_open(path)
        assert len(writing_threads(path)) == 1

    assert not is_open(path)
    await until(lambda: not writing_threads(path))


async def test_leaving_the_block_waits_for_the_work_at_hand(path: Path) -> None:
    async with open_writer(path) as writer:
        await writer.transaction(make_tables)
        tasks = [asyncio.create_task(writer.transaction(write(number))) for number in range(50)]
        await asyncio.sleep(0)  # let each hand in its work

    assert [await task for task in tasks] == list(range(50))
    assert written(path) == set(range(50))


async def test_who_is_cancelled_twice_while_leaving_still_closes_the_file(path: Path) -> None:
    started, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow(_: sqlite3.Connection) -> None:
        loop.call_soon_threadsafe(started.set)
        assert go_on.wait(20)

    async def block() -> None:
        async with open_writer(path) as writer:
            await writer.transaction(slow)

    task = asyncio.create_task(block())
    await started.wait()
    for _ in range(2):  # out of the transaction, then out of the closing
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    await until(lambda: not is_open(path) and not writing_threads(path))


async def test_what_was_written_is_there_after_opening_again(path: Path) -> None:
    async with open_writer(path) as writer:
        await writer.transaction(make_tables)
        await writer.transaction(write(1))
    async with open_writer(path) as writer:
        await writer.transaction(write(2))

    assert written(path) == {1, 2}


@pytest.fixture(
    params=[b"this is no database, though long enough to look at" * 40, b"SQLite format 3\x00" * 100]
)
def no_database(path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file that SQLite cannot open, and that must be found as it was."""
    path.write_bytes(request.param)
    yield path
    assert path.read_bytes() == request.param


async def test_a_file_that_is_no_database_is_a_storage_fault_and_is_left_as_it_is(no_database: Path) -> None:
    with pytest.raises(StorageFault, match=r"journal\.db"):
        async with open_writer(no_database):
            pytest.fail("opened")

    assert not is_open(no_database)
    await until(lambda: not writing_threads(no_database))


async def test_a_place_where_no_database_can_be_is_a_storage_fault(tmp_path: Path) -> None:
    for path in (tmp_path / "absent" / "journal.db", tmp_path):
        with pytest.raises(StorageFault):
            async with open_writer(path):
                pytest.fail("opened")


async def test_a_file_that_cannot_have_a_wal_is_a_storage_fault() -> None:
    # SQLite itself would go on silently in another journal mode, with other promises.
    with pytest.raises(StorageFault, match="WAL"):
        async with open_writer(Path(":memory:")):
            pytest.fail("opened")


# --- a disk that fails


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


# --- checkpoints and readers


async def test_a_checkpoint_says_whether_a_reader_held_it_up(writer: Writer, path: Path) -> None:
    await writer.transaction(pragma("busy_timeout=0"))
    await writer.transaction(write(1))
    reader = open_reader(path)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM sale").fetchall()
    await writer.transaction(write(2))

    assert await writer.checkpoint("PASSIVE") is False
    assert await writer.checkpoint("TRUNCATE") is False

    reader.execute("COMMIT")
    assert await writer.checkpoint("PASSIVE") is True
    assert await writer.checkpoint("TRUNCATE") is True
    assert size_of(path.with_name(path.name + "-wal")) == 0
    reader.close()


async def test_a_reader_of_the_newest_snapshot_lets_all_be_copied_but_nothing_be_cut(
    writer: Writer, path: Path
) -> None:
    await writer.transaction(pragma("busy_timeout=0"))
    await writer.transaction(write(1))
    reader = open_reader(path)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM sale").fetchall()

    assert await writer.checkpoint("PASSIVE") is True
    assert await writer.checkpoint("TRUNCATE") is False
    reader.close()
    assert await writer.checkpoint("TRUNCATE") is True


async def test_a_checkpoint_of_nothing_is_complete(writer: Writer) -> None:
    assert await writer.checkpoint("TRUNCATE")
    assert await writer.checkpoint("TRUNCATE")
    assert await writer.checkpoint("PASSIVE")


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO sale VALUES (9, NULL)",
        "DROP TABLE sale",
        "PRAGMA user_version=9",
        "PRAGMA query_only=0; DELETE FROM sale",
    ],
)
async def test_a_reader_can_change_nothing(writer: Writer, path: Path, statement: str) -> None:
    await writer.transaction(write(1))
    reader = open_reader(path)
    try:
        for part in statement.split(";")[:-1]:
            reader.execute(part)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.execute(statement.split(";")[-1])
    finally:
        reader.close()

    assert written(path) == {1}


async def test_a_reader_sees_each_commit_at_once_and_never_half_of_one(writer: Writer, path: Path) -> None:
    reader = open_reader(path)
    for number in range(20):
        await writer.transaction(write(number))
        assert reader.execute("SELECT count(*) FROM event").fetchone() == (number + 1,)
    reader.close()


def test_a_reader_makes_no_database(path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        open_reader(path)

    assert not path.exists()


async def test_names_that_mean_something_in_a_uri_are_only_names(tmp_path: Path) -> None:
    path = tmp_path / "a shop?mode=rwc#50%.db"
    async with open_writer(path) as writer:
        await writer.transaction(make_tables)
        await writer.transaction(write(1))
        assert written(path) == {1}


async def test_a_copy_of_the_file_after_a_full_checkpoint_holds_everything(
    writer: Writer, path: Path
) -> None:
    for number in range(50):
        await writer.transaction(write(number))
    assert await writer.checkpoint("TRUNCATE")
    shutil.copy(path, path.with_name("copy.db"))

    copy = sqlite3.connect(path.with_name("copy.db"))
    assert copy.execute("SELECT count(*) FROM sale").fetchone() == (50,)
    copy.close()

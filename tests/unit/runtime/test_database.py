"""One writer: whole or not at all, and on disk when told so."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from appliance.domain.errors import StorageFault
from appliance.runtime.database import Writer, open_writer
from tests.fakes.tables import make_tables, pragma, size_of, write, written
from tests.fakes.tasks import until


def is_open(path: Path) -> bool:
    """Whether this process still has the database or its WAL open."""
    return any(name.startswith(path.name) for name in map(_open_as, Path("/proc/self/fd").iterdir()))


def _open_as(descriptor: Path) -> str:
    try:
        return descriptor.readlink().name
    except FileNotFoundError:  # closed between the look and the reading of it
        return ""


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


async def test_work_that_runs_out_of_an_iterator_is_an_error_and_leaves_nobody_waiting(
    writer: Writer, path: Path
) -> None:
    with pytest.raises(RuntimeError, match="iterator"):
        await writer.transaction(lambda c: (write(1)(c), next(iter([]))))

    assert written(path) == set()


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

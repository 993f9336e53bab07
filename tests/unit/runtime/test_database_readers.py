"""Readers see whole commits and change nothing; checkpoints say whether a reader held them up."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from appliance.runtime.database import Writer, open_reader, open_writer
from tests.fakes.tables import make_tables, pragma, size_of, write, written


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

"""Steps of a schema: each applied once, whole or not at all."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.domain.errors import SchemaTooNew
from appliance.runtime.database import Writer, open_writer
from appliance.runtime.migrations import migrate, statements

FIRST = "CREATE TABLE sale (id INTEGER);\n"
SECOND = "CREATE TABLE event (id INTEGER);\nINSERT INTO event VALUES (1);\n"
UNAPPLICABLE = "INSERT INTO nowhere VALUES (1);\n"
A_SALE = "INSERT INTO sale VALUES (1);\n"


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[Writer]:
    async with open_writer(tmp_path / "x.db") as writer:
        yield writer


def a_schema(tmp_path: Path, **steps: str) -> Path:
    """A folder with these steps, e.g. _0001_first="CREATE …"."""
    folder = tmp_path / "schema"
    folder.mkdir(exist_ok=True)
    for name, script in steps.items():
        (folder / f"{name.removeprefix('_')}.sql").write_text(script)
    return folder


async def state(writer: Writer) -> tuple[int, list[str]]:
    """The version, and the tables that are there."""

    def look(connection: sqlite3.Connection) -> tuple[int, list[str]]:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid")
        return version, [name for (name,) in tables]

    return await writer.transaction(look)


async def test_a_new_database_gets_every_step_in_order(writer: Writer, tmp_path: Path) -> None:
    folder = a_schema(
        tmp_path, _0010_tenth="CREATE TABLE tenth (id);", _0002_second=SECOND, _0001_first=FIRST
    )

    assert await migrate(writer, folder) == 10
    assert await state(writer) == (10, ["sale", "event", "tenth"])


async def test_an_applied_step_is_never_applied_again(writer: Writer, tmp_path: Path) -> None:
    await migrate(writer, a_schema(tmp_path, _0001_first=FIRST))
    folder = a_schema(tmp_path, _0002_second=SECOND)

    assert [await migrate(writer, folder) for _ in range(3)] == [2, 2, 2]
    assert await writer.transaction(lambda c: c.execute("SELECT count(*) FROM event").fetchone()) == (1,)


async def test_a_step_that_fails_leaves_neither_its_tables_nor_its_number(
    writer: Writer, tmp_path: Path
) -> None:
    bad = SECOND + UNAPPLICABLE
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        await migrate(
            writer, a_schema(tmp_path, _0001_first=FIRST, _0002_second=bad, _0003_third="SELECT 1;")
        )
    assert await state(writer) == (1, ["sale"])

    assert await migrate(writer, a_schema(tmp_path, _0002_second=SECOND)) == 3
    assert await state(writer) == (3, ["sale", "event"])


async def test_a_database_of_a_newer_release_is_refused_untouched(writer: Writer, tmp_path: Path) -> None:
    await migrate(writer, a_schema(tmp_path, _0001_first=FIRST, _0007_later="CREATE TABLE later (id);"))
    (tmp_path / "schema" / "0007_later.sql").unlink()
    a_schema(tmp_path, _0002_second=SECOND)

    with pytest.raises(SchemaTooNew, match=r"version 7.*knows 2"):
        await migrate(writer, tmp_path / "schema")
    assert await state(writer) == (7, ["sale", "later"])


NOTE = "-- readable from 0002\nALTER TABLE sale ADD COLUMN note TEXT;\n"


async def test_a_database_whose_later_steps_only_add_is_taken_as_it_is(
    writer: Writer, tmp_path: Path
) -> None:
    later = a_schema(tmp_path, _0001_first=FIRST, _0002_second=SECOND, _0003_note=NOTE)
    await migrate(writer, later)
    (later / "0003_note.sql").unlink()

    assert await migrate(writer, later) == 3
    await writer.transaction(lambda c: c.execute("INSERT INTO sale (id) VALUES (7)"))
    assert await state(writer) == (3, ["sale", "event"])


async def test_a_database_from_before_it_was_written_down_gets_it_with_its_next_step(
    writer: Writer, tmp_path: Path
) -> None:
    await migrate(writer, a_schema(tmp_path, _0001_first=FIRST, _0002_second=SECOND))
    await writer.transaction(lambda c: c.execute("PRAGMA application_id = 0"))
    later = a_schema(tmp_path, _0003_note=NOTE)
    await migrate(writer, later)
    (later / "0003_note.sql").unlink()

    assert await migrate(writer, later) == 3
    (later / "0002_second.sql").unlink()
    with pytest.raises(SchemaTooNew):
        await migrate(writer, later)


async def test_one_step_that_changes_what_was_there_shuts_out_all_code_before_it(
    writer: Writer, tmp_path: Path
) -> None:
    steps = {"_0003_other": "DROP TABLE event;\n", "_0004_note": NOTE.replace("0002", "0003")}
    later = a_schema(tmp_path, _0001_first=FIRST, _0002_second=SECOND, **steps)
    await migrate(writer, later)
    (later / "0004_note.sql").unlink()
    assert await migrate(writer, later) == 4

    (later / "0003_other.sql").unlink()
    with pytest.raises(SchemaTooNew, match=r"version 4.*knows 2"):
        await migrate(writer, later)


async def test_a_promise_about_a_step_to_come_is_a_slip(writer: Writer, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="readable from 9"):
        await migrate(writer, a_schema(tmp_path, _0001_first="-- readable from 0009\n" + FIRST))


async def test_a_folder_without_steps_changes_nothing(writer: Writer, tmp_path: Path) -> None:
    folder = a_schema(tmp_path)
    (folder / "__init__.py").touch()
    (folder / "README.md").write_text("no step")

    assert await migrate(writer, folder) == 0


async def test_two_steps_of_one_number_are_refused(writer: Writer, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="0001"):
        await migrate(writer, a_schema(tmp_path, _0001_first=FIRST, _0001_other=SECOND))

    assert await state(writer) == (0, [])


TRIGGER = """CREATE TRIGGER keep BEFORE DELETE ON sale
BEGIN
    -- never; not even by hand
    SELECT RAISE(ABORT, 'the journal is append-only;');
END;
"""


def test_a_trigger_stays_in_one_piece() -> None:
    assert list(statements(FIRST + TRIGGER + SECOND)) == [FIRST, TRIGGER, *SECOND.splitlines(keepends=True)]


async def test_a_trigger_works_once_applied(writer: Writer, tmp_path: Path) -> None:
    await migrate(writer, a_schema(tmp_path, _0001_first=FIRST + TRIGGER + A_SALE))
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        await writer.transaction(lambda c: c.execute("DELETE FROM sale"))


async def test_the_last_statement_counts_also_without_its_semicolon(writer: Writer, tmp_path: Path) -> None:
    assert await migrate(writer, a_schema(tmp_path, _0001_first=FIRST + "CREATE TABLE last (id)")) == 1
    assert await state(writer) == (1, ["sale", "last"])


async def test_comments_and_blank_lines_are_no_statements_of_their_own(
    writer: Writer, tmp_path: Path
) -> None:
    script = f"-- what; this is\n\n{FIRST}\n/* and; this */\n-- the end\n"

    assert await migrate(writer, a_schema(tmp_path, _0001_first=script)) == 1
    assert await state(writer) == (1, ["sale"])


async def test_two_statements_on_one_line_are_refused_loudly(writer: Writer, tmp_path: Path) -> None:
    with pytest.raises((sqlite3.Warning, sqlite3.ProgrammingError), match="one statement"):
        await migrate(writer, a_schema(tmp_path, _0001_first="CREATE TABLE a (id); CREATE TABLE b (id);\n"))

    assert await state(writer) == (0, [])

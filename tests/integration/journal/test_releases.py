"""A journal goes up to the next release and back again, with everything in it, and old ones are read for ever.

The release to come is this code with one step more; the one before is the journal in tests/data, as that step left it.
"""

import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import pytest

from appliance.domain.errors import SchemaTooNew
from appliance.runtime.database import open_reader, open_writer
from appliance.runtime.migrations import Step, migrate, read_steps, statements
from appliance.services.verification import Finding, verify_journal
from appliance.storage import journal_tables as tables
from tests.fakes.journals import BOX, KEYS, a_draft, a_journal
from tests.fakes.sales import a_sale, a_sale_id

DATA = Path(__file__).parents[2] / "data"
SCHEMAS = ("journal", "mirror")
# The last step of each schema that stood before the rule.
BEFORE_THE_RULE = {"journal": 3, "mirror": 1}
ADDS = re.compile(
    r"(\s*--[^\n]*\n)*\s*(CREATE (TABLE|INDEX)|ALTER TABLE \w+ ADD COLUMN (?!.*\bNOT NULL\b(?!.*\bDEFAULT\b)))",
    re.S,
)
KNOWN = read_steps(tables.SCHEMA)[-1].number
NEXT = f"next/{KNOWN + 1:04d}_mood.sql"
ADDED = "ALTER TABLE sale ADD COLUMN mood TEXT;\nCREATE TABLE moods (mood TEXT);\n"


def verified(folder: Path) -> Finding:
    finding = verify_journal(folder / "journal.db", BOX, KEYS, lambda _events: None)
    assert finding.fault is None
    return finding


async def sell(folder: Path, first: int, count: int) -> None:
    """As this release does."""
    async with a_journal(folder) as journal:
        for number in range(first, first + count):
            await journal.append(a_draft(a_sale(sale_id=a_sale_id(number), ticket_number=number)))


@pytest.fixture
def next_schema(tmp_path: Path) -> Path:
    """The schema of the release to come."""
    shutil.copytree(str(tables.SCHEMA), tmp_path / "next")
    (tmp_path / NEXT).write_text(f"-- readable from {KNOWN:04d}\n{ADDED}")
    return tmp_path / "next"


async def test_what_the_next_release_wrote_is_read_sold_on_and_taken_up_again(
    tmp_path: Path, next_schema: Path
) -> None:
    await sell(tmp_path, 1, 3)

    async with open_writer(tmp_path / "journal.db") as writer:
        assert await migrate(writer, next_schema) == KNOWN + 1
        await writer.transaction(_feel)
    await sell(tmp_path, 4, 3)  # it went back
    async with open_writer(tmp_path / "journal.db") as writer:
        assert await migrate(writer, next_schema) == KNOWN + 1
        moods = await writer.transaction(
            lambda c: c.execute("SELECT mood FROM sale ORDER BY place").fetchall()
        )

    assert [mood for (mood,) in moods] == ["good"] * 3 + [None] * 3
    assert verified(tmp_path).sales == 6


async def test_what_it_says_that_we_cannot_read_stops_us_before_anything_is_touched(
    tmp_path: Path, next_schema: Path
) -> None:
    (tmp_path / NEXT).write_text("ALTER TABLE sale RENAME TO sold;\n")
    await sell(tmp_path, 1, 1)
    async with open_writer(tmp_path / "journal.db") as writer:
        await migrate(writer, next_schema)

    with pytest.raises(SchemaTooNew):
        await sell(tmp_path, 2, 1)


@pytest.mark.parametrize("old", sorted(DATA.glob("journal-*.db")), ids=lambda path: path.stem)
async def test_a_journal_of_an_earlier_step_is_opened_proven_and_sold_on(old: Path, tmp_path: Path) -> None:
    shutil.copyfile(old, tmp_path / "journal.db")
    before = verified(tmp_path)

    await sell(tmp_path, 900, 2)

    after = verified(tmp_path)
    assert (after.sales, after.events) == (before.sales + 2, before.events + 2)
    assert before.sales > 0


def test_a_journal_of_each_step_since_the_first_release_is_kept() -> None:
    steps = [step.number for step in read_steps(tables.SCHEMA) if step.number >= BEFORE_THE_RULE["journal"]]

    kept = []
    for path in sorted(DATA.glob("journal-*.db")):
        with closing(open_reader(path)) as reader:
            kept += [reader.execute("PRAGMA user_version").fetchone()[0]]
    assert kept == steps


def additions() -> Iterator[tuple[str, Step]]:
    for name in SCHEMAS:
        for step in read_steps(files("appliance.storage") / "schema" / name):
            if step.number > BEFORE_THE_RULE[name]:
                yield name, step


def breaks_the_rule(step: Step) -> list[str]:
    """What a step does that code of the step before could stumble over."""
    if step.readable_from >= step.number:
        return ["does not say `-- readable from` the step before"]
    return [statement for statement in statements(step.script) if not ADDS.match(statement)]


def test_every_new_step_only_adds() -> None:
    assert {
        f"{name} {step.number}": breaks_the_rule(step) for name, step in additions() if breaks_the_rule(step)
    } == {}


@pytest.mark.parametrize(
    "script",
    [
        "DROP TABLE sale;",
        "ALTER TABLE sale RENAME TO sold;",
        "ALTER TABLE sale DROP COLUMN place;",
        "ALTER TABLE sale ADD COLUMN mood TEXT NOT NULL;",
        "UPDATE sale SET place = 0;",
        "CREATE TRIGGER t BEFORE INSERT ON sale BEGIN SELECT 1; END;",
    ],
)
def test_the_rule_sees_what_changes_more(script: str) -> None:
    assert breaks_the_rule(Step(4, script, 3)) == [script]


@pytest.mark.parametrize(
    "script",
    [
        "CREATE TABLE moods (mood TEXT);",
        "-- why\nCREATE INDEX i ON sale (place);",
        "ALTER TABLE sale ADD COLUMN mood TEXT NOT NULL DEFAULT '';",
    ],
)
def test_the_rule_lets_pass_what_adds(script: str) -> None:
    assert breaks_the_rule(Step(4, script, 3)) == []


def _feel(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE sale SET mood = 'good'")
    connection.execute("INSERT INTO moods VALUES ('good')")

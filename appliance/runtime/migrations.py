"""Bring a database to the schema that the code knows.

The schema is a folder of numbered SQL files, each applied once and never edited after its release. The number of the
last step stands in `PRAGMA user_version`, set in the step's own transaction: a step that fails leaves neither its
tables nor its number.

A box that goes back to the release before finds a database with steps which that release does not know. A step that
begins with `-- readable from NNNN` promises that code of step NNNN reads and writes what it leaves: it only adds. How
far back that holds for all steps stands in `PRAGMA application_id` (docs/decisions/0028-one-release-back.md).
"""

import asyncio
import re
import sqlite3
from collections.abc import Iterator
from functools import partial
from importlib.resources.abc import Traversable
from typing import NamedTuple

from appliance.domain.errors import SchemaTooNew
from appliance.runtime.database import Writer

_READABLE = re.compile(r"-- readable from (\d{4})\n")


class Step(NamedTuple):
    """One step of a schema; code that knows step `readable_from` can work with what it leaves."""

    number: int
    script: str
    readable_from: int


async def migrate(writer: Writer, schema: Traversable) -> int:
    """Apply the missing steps of a folder of `NNNN_name.sql` files; returns the version reached.

    A database with later steps is taken as it is when they are readable by this code; else raises SchemaTooNew: a
    botched rollback, not a thing to guess at.
    """
    steps = await asyncio.to_thread(read_steps, schema)
    current, readable_from = await writer.transaction(_versions)
    known = steps[-1].number if steps else current
    if current > known and not 0 < readable_from <= known:
        raise SchemaTooNew(f"the database is at version {current}, this code knows {known}")
    for step in steps:
        if step.number > current:
            await writer.transaction(partial(_apply, step=step))
    return max(known, current)


def read_steps(schema: Traversable) -> list[Step]:
    """The steps of a folder, in order. Blocks."""
    files = sorted(
        (file for file in schema.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name
    )
    steps = [_step(int(file.name[:4]), file.read_text()) for file in files]
    numbers = [step.number for step in steps]
    assert len(set(numbers)) == len(numbers), f"two steps of one number: {[file.name for file in files]}"
    return steps


def _step(number: int, script: str) -> Step:
    said = _READABLE.match(script)
    readable_from = number if said is None else int(said[1])
    assert readable_from <= number, f"step {number} says that it is readable from {readable_from}"
    return Step(number, script, readable_from)


def _versions(connection: sqlite3.Connection) -> tuple[int, int]:
    """The last step of a database, and the step that code must know to work with it (0: nobody wrote it down)."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (readable_from,) = connection.execute("PRAGMA application_id").fetchone()
    return int(version), int(readable_from)


def _apply(connection: sqlite3.Connection, step: Step) -> None:
    version, readable_from = _versions(connection)
    for statement in statements(step.script):  # executescript() would commit behind our back
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {step.number:d}")
    # Where it was never written down, only code of the very step could work with it.
    oldest = max(readable_from or version, step.readable_from)
    connection.execute(f"PRAGMA application_id = {oldest:d}")


def statements(script: str) -> Iterator[str]:
    """The single statements of an SQL script; a trigger's body stays in one piece."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
    if pending.strip():  # the last one may lack its semicolon
        yield pending

"""Bring a database to the schema that the code knows.

The schema is a folder of numbered SQL files, each applied once and never edited after its release. The number of the
last step stands in `PRAGMA user_version`, set in the step's own transaction: a step that fails leaves neither its
tables nor its number.
"""

import asyncio
import sqlite3
from collections.abc import Iterator
from functools import partial
from importlib.resources.abc import Traversable

from appliance.domain.errors import SchemaTooNew
from appliance.runtime.database import Writer


async def migrate(writer: Writer, schema: Traversable) -> int:
    """Apply the missing steps of a folder of `NNNN_name.sql` files; returns the version reached.

    Raises SchemaTooNew when the database knows more steps than the code: a botched rollback, not a thing to guess at.
    """
    steps = await asyncio.to_thread(_steps, schema)
    current = await writer.transaction(_version)
    if steps and current > steps[-1][0]:
        raise SchemaTooNew(f"the database is at version {current}, this code knows {steps[-1][0]}")
    for number, script in steps:
        if number > current:
            await writer.transaction(partial(_apply, number=number, script=script))
    return steps[-1][0] if steps else current


def _steps(schema: Traversable) -> list[tuple[int, str]]:
    files = sorted(
        (file for file in schema.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name
    )
    steps = [(int(file.name[:4]), file.read_text()) for file in files]
    numbers = [number for number, _ in steps]
    assert len(set(numbers)) == len(numbers), f"two steps of one number: {[file.name for file in files]}"
    return steps


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _apply(connection: sqlite3.Connection, number: int, script: str) -> None:
    for statement in statements(script):  # executescript() would commit behind our back
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {number:d}")


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

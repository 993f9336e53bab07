"""Two tables whose rows belong together, to see whether a database keeps them so."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from appliance.runtime.database import open_reader


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

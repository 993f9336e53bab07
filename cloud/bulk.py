"""Many rows into one table, by the driver itself.

SQLAlchemy's way to each value costs more than what the database does with it, and here no value needs it: texts,
numbers, bytes and truth values go to SQLite and PostgreSQL as they are.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table, insert
from sqlalchemy.ext.asyncio import AsyncConnection


async def add_rows(
    connection: AsyncConnection, table: Table, columns: Sequence[str], rows: list[tuple[Any, ...]]
) -> None:
    """Insert rows, each with its values in the order of `columns`. At least one row."""
    compiled = insert(table).compile(dialect=connection.dialect, column_keys=list(columns))
    order = [columns.index(name) for name in compiled.positiontup or columns]
    if order != list(range(len(columns))):
        rows = [tuple(row[place] for place in order) for row in rows]
    await connection.exec_driver_sql(str(compiled), rows)

"""Give the mirror on to tills, as transfers like the cloud's.

Each is made in one read transaction on a thread and is whole before the first byte leaves: a slow till holds no
transaction open, so it can neither see two versions nor keep the WAL from being emptied.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from appliance.domain.catalogue import Lead, frame_transfer, pack_transfer
from appliance.domain.errors import SnapshotRequired
from appliance.runtime.database import open_reader
from appliance.storage.mirror_load import State, read_state

# Beyond this a snapshot costs about the same, and it is made once for all tills.
CHANGES_MAX = 10_000
# Rows a turn: hashing and compressing blocks this large lets other threads run meanwhile.
_ROWS = 500


def write_snapshot(database: Path, into: Path) -> State:
    """Write the whole catalogue as a packed transfer, replacing the file at once; returns the state it holds."""
    beside = into.with_name(into.name + ".new")
    with closing(open_reader(database)) as connection, one_version(connection), beside.open("wb") as file:
        state = read_state(connection)
        rows = connection.execute("SELECT body FROM article WHERE NOT deleted ORDER BY id")
        for chunk in pack_transfer(frame_transfer(Lead(state.version, None), _blocks(rows))):
            file.write(chunk)
    beside.replace(into)
    return state


def pack_changes(connection: sqlite3.Connection, since: int, changes_max: int = CHANGES_MAX) -> bytes:
    """What changed after a version, tombstones included, as a packed transfer.

    Raises SnapshotRequired when that is not known (any more), or is so much that a snapshot serves better.
    """
    with one_version(connection):
        state = read_state(connection)
        if since != state.version and not state.horizon <= since <= state.version:
            raise SnapshotRequired(version=state.version)
        (count,) = connection.execute("SELECT count(*) FROM article WHERE version > ?", (since,)).fetchone()
        if count > changes_max:
            raise SnapshotRequired(f"{count} articles changed since; take a snapshot", version=state.version)
        rows = connection.execute("SELECT body FROM article WHERE version > ? ORDER BY id", (since,))
        return b"".join(pack_transfer(frame_transfer(Lead(state.version, since), _blocks(rows))))


@contextmanager
def one_version(connection: sqlite3.Connection) -> Iterator[None]:
    """All reads inside see one and the same version, whatever is applied meanwhile."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")


def _blocks(rows: sqlite3.Cursor) -> Iterator[bytes]:
    while block := rows.fetchmany(_ROWS):
        yield b"".join(body + b"\n" for (body,) in block)

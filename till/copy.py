"""The till's own copy of each sale, written before it is sent anywhere and kept until the cloud holds it.

    pending ──▶ accepted (on the box's disk) ──▶ synced (in the cloud)
       ├──────────────────────────────────────────▲  straight to the cloud
       ├──▶ refused     the peer says no for ever: it is kept, and somebody must look at it
       └──▶ withdrawn   an online-only operation hid in it: no ticket was made, its number is free again

States move forward only, with one exception: a box that no longer knows what it accepted makes it `pending` again.
Ticket numbers are taken in the transaction that writes the copy, so they have no gaps.
"""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from appliance.domain.errors import ConfigError
from appliance.domain.sale import Sale
from appliance.domain.wire import Ack
from appliance.runtime.database import Writer, open_reader, open_writer
from appliance.runtime.migrations import migrate

State = Literal["pending", "accepted", "synced", "refused", "withdrawn"]
Way = Literal["cloud", "box"]
Result = TypeVar("Result")

# Synced copies serve only as memory ("was this ticket sent?"): a till's last weeks.
SYNCED_KEPT = 10_000
# A checkpoint per so many writes keeps the WAL small: its tail is what a flipped bit can take.
WRITES_PER_CHECKPOINT = 100

_COLUMNS = "sale_id, ticket_number, body, state, asked_cloud, way, box, epoch, seq, code"


class Copy(msgspec.Struct, frozen=True):
    """One sale as this till holds it; `box`, `epoch` and `seq` are its place in the box's chain, once accepted."""

    sale_id: str
    ticket_number: int
    body: bytes
    state: State
    asked_cloud: bool
    way: Way | None
    box: str | None
    epoch: int | None
    seq: int | None
    code: str | None


class Copies:
    """All copies of one till. What a method wrote is on disk when it returns. Use `open_copies`."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._writes = 0

    async def take(self, build: Callable[[int], Sale], *, ask_cloud: bool) -> Copy:
        """Take the next ticket number and keep the sale that `build` makes with it, as pending.

        What `build` raises is raised here, and no number is taken. `ask_cloud`: it goes to the cloud first.
        """

        def work(connection: sqlite3.Connection) -> Copy:
            query = "SELECT coalesce(max(ticket_number), 0) + 1 FROM copy WHERE state <> 'withdrawn'"
            number = connection.execute(query).fetchone()[0]
            sale = build(number)
            connection.execute(
                "INSERT INTO copy (ticket_number, sale_id, body, state, asked_cloud) VALUES (?, ?, ?, 'pending', ?)",
                (number, sale.sale_id, sale.encode(), ask_cloud),
            )
            return _one(connection, sale.sale_id)

        return await self._write(work)

    async def ask_cloud(self, sale_id: str, may_hold_it: bool) -> None:
        """Whether the cloud may hold this sale unsaid: set before asking, cleared when it certainly never heard."""
        await self._change("SET asked_cloud = ? WHERE sale_id = ?", (may_hold_it, sale_id))

    async def accepted(self, ack: Ack, body: bytes) -> Copy:
        """The box has it on disk, at this place; a place noted before is replaced (the box may have been restored)."""

        def work(connection: sqlite3.Connection) -> Copy:
            connection.execute(
                "UPDATE copy SET state = 'accepted', way = 'box', box = ?, epoch = ?, seq = ?, hash = ?, head = ?,"
                " box_answer = ?, code = NULL WHERE sale_id = ? AND state IN ('pending', 'accepted')",
                (ack.box, ack.epoch, ack.seq, ack.hash, bytes(ack.head), body, ack.sale_id),
            )
            # The head may stand behind the sale, but the sale's place is what this till knows of.
            connection.execute(
                "INSERT INTO witness (box, epoch, seq, head) VALUES (?, ?, ?, ?) ON CONFLICT (box) DO UPDATE"
                " SET epoch = excluded.epoch, seq = excluded.seq, head = excluded.head"
                " WHERE (excluded.epoch, excluded.seq) > (witness.epoch, witness.seq)",
                (ack.box, ack.epoch, ack.seq, bytes(ack.head)),
            )
            return _one(connection, ack.sale_id)

        return await self._write(work)

    async def witness(self, box: str) -> bytes | None:
        """The last signed head (an envelope) that this box acked a sale with."""

        def work(connection: sqlite3.Connection) -> bytes | None:
            row = connection.execute("SELECT head FROM witness WHERE box = ?", (box,)).fetchone()
            return row[0] if row else None

        return await self._writer.transaction(work)

    async def synced(self, sale_id: str, *, cloud_answer: bytes | None = None) -> Copy:
        """The cloud holds it: told by itself (its answer), or by the box."""
        await self._change(
            "SET state = 'synced', code = NULL, cloud_answer = coalesce(?1, cloud_answer),"
            " way = CASE WHEN ?1 IS NULL THEN way ELSE 'cloud' END WHERE sale_id = ?2 AND state <> 'synced'",
            (cloud_answer, sale_id),
        )
        return await self.get(sale_id)

    async def synced_up_to(self, box: str, epoch: int, seq: int) -> list[Copy]:
        """Everything this box accepted in that epoch up to there is in the cloud; the copies that became so.

        Another epoch proves nothing: a restored box may have lost the end of the one before.
        """

        def work(connection: sqlite3.Connection) -> list[Copy]:
            where = "state = 'accepted' AND box = ? AND epoch = ? AND seq <= ?"
            found = _all(connection, f"WHERE {where} ORDER BY id", (box, epoch, seq))
            if found:
                connection.execute(f"UPDATE copy SET state = 'synced' WHERE {where}", (box, epoch, seq))  # noqa: S608
            return [msgspec.structs.replace(copy, state="synced") for copy in found]

        return await self._write(work)

    async def refused(self, sale_id: str, code: str) -> Copy:
        """The peer says no for ever, for this reason."""
        await self._change(
            "SET state = 'refused', code = ? WHERE sale_id = ? AND state = 'pending'", (code, sale_id)
        )
        return await self.get(sale_id)

    async def withdrawn(self, sale_id: str, code: str) -> Copy:
        """No ticket was made of it: the number is free again when it was the last one."""
        await self._change(
            "SET state = 'withdrawn', code = ? WHERE sale_id = ? AND state = 'pending'", (code, sale_id)
        )
        return await self.get(sale_id)

    async def waiting(self, sale_id: str, code: str) -> Copy:
        """Still pending, and why."""
        await self._change("SET code = ? WHERE sale_id = ? AND state = 'pending'", (code, sale_id))
        return await self.get(sale_id)

    async def lost(self, sale_id: str) -> Copy:
        """The box no longer knows what it accepted: it must be brought again. The old place stays as a witness."""
        await self._change("SET state = 'pending' WHERE sale_id = ? AND state = 'accepted'", (sale_id,))
        return await self.get(sale_id)

    async def get(self, sale_id: str) -> Copy:
        """One copy. Raises KeyError."""
        return await self._writer.transaction(lambda connection: _one(connection, sale_id))

    async def in_state(self, state: State) -> list[Copy]:
        """All copies in a state, oldest first."""
        return await self._writer.transaction(
            lambda connection: _all(connection, "WHERE state = ? ORDER BY id", (state,))
        )

    async def counts(self) -> dict[State, int]:
        """How many copies are in each state."""
        return await self._writer.transaction(_counts)

    async def _change(self, change: str, values: tuple[object, ...]) -> None:
        await self._write(lambda connection: connection.execute(f"UPDATE copy {change}", values) and None)

    async def _write(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        result = await self._writer.transaction(work)
        self._writes += 1
        if self._writes % WRITES_PER_CHECKPOINT == 0:
            await self._writer.checkpoint("PASSIVE")
        return result


@asynccontextmanager
async def open_copies(path: Path, till_id: str) -> AsyncIterator[Copies]:
    """The copies in this file. Raises ConfigError when it is another till's, StorageFault, SchemaTooNew."""
    async with open_writer(path) as writer:
        # Nothing may be promised while a WAL of an earlier run is not proven to be on disk.
        await writer.checkpoint("TRUNCATE")
        await migrate(writer, files("till") / "schema" / "copies")
        owner = await writer.transaction(lambda connection: _own(connection, till_id))
        if owner != till_id:
            raise ConfigError(f"{path} belongs to till {owner}, not {till_id}")
        await writer.transaction(_forget_old)
        yield Copies(writer)


def read_copies(path: Path, state: State | None) -> list[Copy]:
    """The copies in a file that another process may be writing, of one state or all. For commands, not the loop."""
    connection = open_reader(path)
    try:
        return _all(connection, "WHERE state = ? OR ? IS NULL ORDER BY id", (state, state))
    finally:
        connection.close()


def read_counts(path: Path) -> dict[State, int]:
    """How many copies a file holds in each state. For commands, not for the loop."""
    connection = open_reader(path)
    try:
        return _counts(connection)
    finally:
        connection.close()


def _own(connection: sqlite3.Connection, till_id: str) -> str:
    connection.execute("INSERT OR IGNORE INTO till (only, till_id) VALUES (1, ?)", (till_id,))
    return str(connection.execute("SELECT till_id FROM till").fetchone()[0])


def _forget_old(connection: sqlite3.Connection) -> None:
    old = "SELECT max(id) - ? FROM copy"  # the newest row stays: the next ticket number comes from it
    connection.execute(f"DELETE FROM copy WHERE state = 'synced' AND id <= ({old})", (SYNCED_KEPT,))  # noqa: S608


def _one(connection: sqlite3.Connection, sale_id: str) -> Copy:
    found = _all(connection, "WHERE sale_id = ?", (sale_id,))
    if not found:
        raise KeyError(sale_id)
    return found[0]


def _all(connection: sqlite3.Connection, where: str, values: tuple[object, ...]) -> list[Copy]:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM copy {where}", values)  # noqa: S608
    return [Copy(row[0], row[1], row[2], row[3], bool(row[4]), *row[5:]) for row in rows]


def _counts(connection: sqlite3.Connection) -> dict[State, int]:
    return dict(connection.execute("SELECT state, count(*) FROM copy GROUP BY state").fetchall())

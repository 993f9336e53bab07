"""What goes to the cloud next: events in order, cut at a signed head. Reads only, on a thread of its own.

The cursor is the last receipt of each epoch, so nothing is marked or moved here: a batch that is asked for twice is
the same batch.
"""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiosqlite

from appliance.domain.wire import BATCH_BYTES_MAX
from appliance.storage.journal_tables import epoch_and_seq, place_of
from appliance.storage.packing import unpack

# The head's envelope and the line feeds of a batch take room too.
_BODIES_BYTES_MAX = BATCH_BYTES_MAX - 64 * 1024
# Read at a time: what is beyond the byte limit is then not much, and unpacking it (0.2 ms) keeps no sale waiting. In
# threads of a pool each one's part of the heap would grow to the size of a batch.
_PAGE_EVENTS = 64


class OutgoingBatch(NamedTuple):
    """Events of one epoch, up to `last_seq`, which `head` (an envelope) signs. `more`: its epoch goes on behind."""

    epoch: int
    last_seq: int
    head: bytes
    bodies: list[bytes]
    more: bool = False

    @property
    def end(self) -> int:
        """The place of its last event."""
        return place_of(self.epoch, self.last_seq)


class Outgoing:
    """Find the next batch. Use `open_outgoing`."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def next_batch(
        self, events_max: int, skip: Collection[int] = (), after: int | None = None
    ) -> OutgoingBatch | None:
        """The oldest events without a receipt, or None when the cloud holds everything (but epochs to `skip`).

        As many whole commit groups as fit `events_max` and the byte limit, and at least one group. With `after`, the
        end of a batch that is on its way, what follows that one in its epoch.
        """
        after = await self._cursor(skip) if after is None else after
        if after is None:
            return None
        epoch_end = place_of(epoch_and_seq(after)[0] + 1, 0)
        heads = await self._all(
            "SELECT place FROM head WHERE place > ? AND place < ?"
            " AND place <= max(? + ?, (SELECT min(place) FROM head WHERE place > ?)) ORDER BY place",
            *(after, epoch_end, after, events_max, after),
        )
        if not heads:
            return None
        rows = await self._rows(after, heads[-1][0])
        return await self._cut({place for (place,) in heads}, rows, epoch_end)

    async def _rows(self, after: int, last: int) -> list[tuple[int, bytes]]:
        """The events up to a place, or a little more than fit the byte limit: not all of them when they are large."""
        rows: list[tuple[int, bytes]] = []
        size, place = 0, after
        while place < last and size <= _BODIES_BYTES_MAX:
            page = await self._all(
                "SELECT place, CAST(body AS BLOB) FROM event WHERE place > ? AND place <= ? ORDER BY place LIMIT ?",
                *(place, last, _PAGE_EVENTS),
            )
            if not page:
                break
            rows += [(at, unpack(body)) for at, body in page]
            size += sum(len(body) + 1 for _, body in rows[-len(page) :])
            place = page[-1][0]
        return rows

    async def _cut(
        self, heads: Collection[int], rows: list[tuple[int, bytes]], epoch_end: int
    ) -> OutgoingBatch:
        count = _fitting(heads, rows)
        end = rows[count - 1][0]
        (stored,) = (await self._all("SELECT CAST(envelope AS BLOB) FROM head WHERE place = ?", end))[0]
        behind = await self._first_after(end)
        more = behind is not None and behind < epoch_end
        return OutgoingBatch(*epoch_and_seq(end), unpack(stored), [body for _, body in rows[:count]], more)

    async def unreceipted(self, epoch: int, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Up to `limit` (seq, bytes) of an epoch, behind its last receipt and behind `after`."""
        receipted = dict(await self._all("SELECT epoch, seq FROM receipt"))
        begin = place_of(epoch, max(after, receipted.get(epoch, 0)))
        rows = await self._all(
            "SELECT place, CAST(body AS BLOB) FROM event WHERE place > ? AND place < ? ORDER BY place LIMIT ?",
            *(begin, place_of(epoch + 1, 0), limit),
        )
        return [(epoch_and_seq(place)[1], unpack(body)) for place, body in rows]

    async def _cursor(self, skip: Collection[int]) -> int | None:
        """The place after which the next batch begins, or None when no event waits.

        Epochs are drained oldest first: the first one whose receipt does not reach its last event.
        """
        receipted = dict(await self._all("SELECT epoch, seq FROM receipt"))
        place: int | None = 0
        while (place := await self._first_after(place or 0)) is not None:
            epoch, _ = epoch_and_seq(place)
            cursor, epoch_end = place_of(epoch, receipted.get(epoch, 0)), place_of(epoch + 1, 0)
            waiting = await self._first_after(cursor)
            if waiting is not None and waiting < epoch_end and epoch not in skip:
                return cursor
            place = epoch_end
        return None

    async def _first_after(self, place: int) -> int | None:
        rows = await self._all("SELECT min(place) FROM event WHERE place > ?", place)
        first: int | None = rows[0][0]
        return first

    async def _all(self, sql: str, *parameters: int) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await self._connection.execute_fetchall(sql, parameters)]


def _fitting(heads: Collection[int], rows: list[tuple[int, bytes]]) -> int:
    """How many of the rows fit a batch, so that it ends at a signed head; the first group always does."""
    size, count = 0, 0
    for index, (place, body) in enumerate(rows, 1):
        size += len(body) + 1
        if size > _BODIES_BYTES_MAX and count:
            break
        if place in heads:
            count = index
    assert count > 0  # the last row of a group stands under its head
    return count


@asynccontextmanager
async def open_outgoing(uri: str) -> AsyncIterator[Outgoing]:
    """Look at a journal that is open for writing elsewhere in this process; `uri` as of `read_only_uri`."""
    async with aiosqlite.connect(uri, uri=True, isolation_level=None) as connection:
        await connection.execute("PRAGMA query_only=1")
        await connection.execute("PRAGMA wal_autocheckpoint=0")
        yield Outgoing(connection)

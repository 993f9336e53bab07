"""What the chain tells of every till's ticket numbers: a fold over its events, judged and kept group by group.

The book lives in memory, for the chain up to one place. Every few hundred events it is written down in the transaction
of a commit group, with that place; when a group finds the book at another place than the chain (after a start, or when
a transaction failed), it is read back and the events behind are folded in again. So it can never disagree with what is
on disk, and a sale alone in its group costs no page. The rules themselves stand in `domain/tickets.py`.
"""

import sqlite3
from contextlib import closing, suppress

import msgspec

from appliance.domain.event import Position
from appliance.domain.tickets import Last, Numbers, Ticket, judge, ticket_of
from appliance.storage import journal_tables as tables

# Events between two writings: a start folds in as many, at some 10 us each.
WRITE_EVERY_EVENTS = 1_024
# Days of tills that stay in memory after a writing; a till sells on one or two.
DAYS_IN_MEMORY_MAX = 256


class _Told(msgspec.Struct, frozen=True):
    kind: str
    data: msgspec.Raw


class _Sale(msgspec.Struct, frozen=True):
    till_id: str
    business_date: str
    ticket_number: int
    ended_at: str
    mode: str


class _SaleData(msgspec.Struct, frozen=True):
    sale: _Sale


class _Mode(msgspec.Struct, frozen=True):
    mode: str


_told = msgspec.json.Decoder(_Told)
_sale_data = msgspec.json.Decoder(_SaleData)
_mode = msgspec.json.Decoder(_Mode)
_bounds = msgspec.msgpack.Decoder(list[int])


class TicketBook:
    """The book of one journal. For the writer's thread, inside its transactions: `begin`, the group, `end`."""

    def __init__(self) -> None:
        self._at: Position | None = None  # None: a group is under way, or ended badly
        self._through = 0
        self._folded = 0
        self._stretch = 0
        self._open = False
        self._lasts: dict[str, Last] = {}
        self._days: dict[tuple[int, str], Numbers] = {}
        self._news: set[tuple[int, str]] = set()

    def begin(self, connection: sqlite3.Connection, end: Position) -> None:
        """Be at the chain's end, whatever happened before."""
        if self._at != end:
            self._read(connection)
        self._at = None

    def judge(self, connection: sqlite3.Connection, ticket: Ticket) -> tuple[str, ...]:
        """The flags of the group's next ticket, which is noted."""
        key = (ticket.day, ticket.till)
        seen = self._days.get(key)
        if seen is None:
            seen = self._days[key] = _numbers(connection, key)
        last = self._lasts.get(ticket.till)
        found, last = judge(ticket, last, seen, stretch=self._stretch, open=self._open)
        if last is not None:
            self._lasts[ticket.till] = last
        seen.add(ticket.number)
        self._news.add(key)
        return found

    def heed(self, connection: sqlite3.Connection, kind: str, data: bytes | msgspec.Raw) -> None:
        """Note what an event that is not judged means for tickets: a sale's number, or another way to sell."""
        # Whatever it holds, an event that stands in the chain stops nothing here: what cannot be read tells nothing.
        with suppress(msgspec.DecodeError, ValueError):
            if kind == "sale":
                sale = _sale_data.decode(data).sale
                self.judge(connection, ticket_of(*msgspec.structs.astuple(sale)))
            elif kind == "started":
                self._turn(open=False)  # a box that starts proposes itself until the line has proven itself
            elif kind == "mode_changed":
                self._turn(open=_mode.decode(data).mode == "cloud")

    def _turn(self, *, open: bool) -> None:
        self._stretch += self._open is not open
        self._open = open

    def end(self, connection: sqlite3.Connection, end: Position, events: int) -> None:
        """The group is over and the chain ends there; write the book down when enough has come together."""
        self._folded += events
        if self._folded >= WRITE_EVERY_EVENTS:
            self._write(connection, tables.place_of(end.epoch, end.seq))
        self._at = end

    def write_down(self, connection: sqlite3.Connection, end: Position) -> None:
        """Write the book down now, since events behind its last writing are about to leave. `end`: the chain's.

        The next group reads it back, so it is right whether this transaction is committed or not.
        """
        self.begin(connection, end)
        self._write(connection, tables.place_of(end.epoch, end.seq))

    def _read(self, connection: sqlite3.Connection) -> None:
        row = connection.execute("SELECT through, stretch, open FROM ticket_book").fetchone()
        self._through, self._stretch, self._open = row[0], row[1], bool(row[2])
        lasts = connection.execute("SELECT till, day, number, ended_s, stretch FROM till_last")
        self._lasts = {till: Last(*last) for till, *last in lasts}
        self._days, self._news, self._folded = {}, set(), 0
        with closing(tables.events(connection, self._through)) as rows:
            for row in rows:
                event = _told.decode(row.body)
                self.heed(connection, event.kind, event.data)
                self._folded += 1

    def _write(self, connection: sqlite3.Connection, through: int) -> None:
        encode = msgspec.msgpack.encode
        connection.executemany(
            "INSERT OR REPLACE INTO ticket_day (day, till, bounds) VALUES (?, ?, ?)",
            [(*key, encode(self._days[key].bounds)) for key in sorted(self._news)],
        )
        tills = {till for _, till in self._news}
        connection.executemany(
            "INSERT OR REPLACE INTO till_last (till, day, number, ended_s, stretch) VALUES (?, ?, ?, ?, ?)",
            [(till, *self._lasts[till]) for till in sorted(tills)],
        )
        connection.execute(
            "UPDATE ticket_book SET through = ?, stretch = ?, open = ?", (through, self._stretch, self._open)
        )
        self._folded = 0
        self._news = set()
        if len(self._days) > DAYS_IN_MEMORY_MAX:
            self._days = {}


def _numbers(connection: sqlite3.Connection, key: tuple[int, str]) -> Numbers:
    row = connection.execute("SELECT bounds FROM ticket_day WHERE day = ? AND till = ?", key).fetchone()
    return Numbers(_bounds.decode(row[0]) if row else [])

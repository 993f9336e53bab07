"""Walk a journal from its first event and name the first fault. Reads only; trusts nothing but a public key."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec

from appliance.domain import event as chain
from appliance.domain.errors import BadEvent, ChainFault, StoreboxError
from appliance.domain.event import GENESIS, Position
from appliance.domain.statements import HEAD_TYPE, Head, Keys, verify
from appliance.runtime.database import open_reader
from appliance.storage import journal_tables as tables
from appliance.storage.commit import CONFLICT_KEY

PROGRESS_EVERY = 10_000

Progress = Callable[[int], None]


class Fault(msgspec.Struct, frozen=True):
    """The first thing that does not hold: its place, the stable code of its kind, and a sentence."""

    epoch: int
    seq: int
    code: str
    detail: str


class Finding(msgspec.Struct, frozen=True):
    """What a walk saw; `fault` is None when every event, head and sale row holds."""

    events: int
    epochs: int
    heads: int
    sales: int
    fault: Fault | None


class _Found(Exception):
    def __init__(self, place: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.fault = Fault(*tables.epoch_and_seq(place), code, detail)


def verify_journal(path: Path, box: str, keys: Keys, progress: Progress) -> Finding:
    """Walk the whole journal file in one pass; `progress` hears how many events are done.

    Checked: the file's pages (SQLite's own quick check), every event's place and hash, that each epoch is gapless from
    seq 1, every signed head, that the last event of each epoch stands under one, and that every sale row names the
    event that holds that sale. Raises nothing for a damaged journal: the finding says it.
    """
    counts = {"events": 0, "epochs": 0, "heads": 0, "sales": 0}
    fault = None
    try:
        reader = open_reader(path)
        try:
            _check_pages(reader)
            _walk(reader, box, keys, counts, progress)
            _check_sales(reader, counts)
        finally:
            reader.close()
    except _Found as found:
        fault = found.fault
    except sqlite3.Error as error:
        fault = Fault(0, 0, "unreadable", f"SQLite: {error}")
    return Finding(**counts, fault=fault)


def _check_pages(reader: sqlite3.Connection) -> None:
    verdict = reader.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise _Found(0, "damaged-file", verdict)


def _walk(
    reader: sqlite3.Connection, box: str, keys: Keys, counts: dict[str, int], progress: Progress
) -> None:
    end, covered = Position(0, 0, GENESIS), True
    with closing(tables.heads(reader, 0)) as heads, closing(tables.events(reader, 0)) as rows:
        next_head = next(heads, None)
        for row in rows:
            if row.epoch != end.epoch:
                _check_covered(end, covered)
                end = Position(row.epoch, 0, GENESIS)
                counts["epochs"] += 1
            end, covered = _follow(end, row, box), False
            counts["events"] += 1
            place = tables.place_of(row.epoch, row.seq)
            if next_head is not None and next_head[0] == place:
                _check_head(end, next_head[1], box, keys)
                counts["heads"] += 1
                next_head, covered = next(heads, None), True
            if next_head is not None and next_head[0] < place:
                raise _Found(next_head[0], "stray-head", "a signed head stands where no event does")
            if counts["events"] % PROGRESS_EVERY == 0:
                progress(counts["events"])
    _check_covered(end, covered)
    if next_head is not None:
        raise _Found(next_head[0], "truncated", "a signed head vouches for events that are gone")


def _follow(end: Position, row: tables.Row, box: str) -> Position:
    place = tables.place_of(row.epoch, row.seq)
    try:
        sealed = chain.read(row.body)
        if (sealed.link.epoch, sealed.link.seq) != (row.epoch, row.seq):
            raise BadEvent(f"the row holds event {sealed.link.epoch}/{sealed.link.seq}")
        return chain.follow(end, sealed, box=box)
    except ChainFault as error:
        raise _Found(place, error.code, str(error)) from error


def _check_head(end: Position, envelope: bytes, box: str, keys: Keys) -> None:
    place = tables.place_of(end.epoch, end.seq)
    try:
        head = verify(envelope, HEAD_TYPE, Head, keys)
    except StoreboxError as error:
        raise _Found(place, error.code, f"the signed head: {error}") from error
    if head.box != box or head.position != end:
        raise _Found(place, "altered", "the signed head names another event than the one that stands here")


def _check_covered(end: Position, covered: bool) -> None:
    if not covered:
        raise _Found(
            tables.place_of(end.epoch, end.seq),
            "unsigned-tail",
            "the epoch's last event is under no signed head",
        )


def _check_sales(reader: sqlite3.Connection, counts: dict[str, int]) -> None:
    with closing(tables.sales(reader)) as rows:
        for key, place in rows:
            _check_sale(reader, key, place)
            counts["sales"] += not key.startswith(CONFLICT_KEY)


def _check_sale(reader: sqlite3.Connection, key: bytes, place: int) -> None:
    body = tables.body_at(reader, place)
    if body is None:
        raise _Found(place, "stray-sale", f"sale {key.hex()} points at no event")
    if key.startswith(CONFLICT_KEY):
        return
    try:
        sale = msgspec.json.decode(chain.content(body).data, type=_SaleData).sale
    except (BadEvent, msgspec.DecodeError) as error:
        raise _Found(place, "bad-event", f"sale {key.hex()} points at no sale: {error}") from error
    if sale.sale_id.replace("-", "") != key.hex():
        raise _Found(place, "altered", f"sale {key.hex()} points at the event of {sale.sale_id}")


class _SaleId(msgspec.Struct, frozen=True):
    sale_id: str


class _SaleData(msgspec.Struct, frozen=True):
    sale: _SaleId

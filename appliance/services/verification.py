"""Verify a journal's file, or an export: walk it and name the first fault. Reads only; trusts nothing but keys."""

import sqlite3
from collections.abc import Generator, Mapping
from contextlib import closing
from pathlib import Path

import msgspec

from appliance.domain import event as chain
from appliance.domain.errors import BadEvent, Malformed
from appliance.domain.statements import Keys
from appliance.runtime.database import open_reader
from appliance.services.chainwalk import Fault, Found, Progress, Walk
from appliance.storage import journal_tables as tables
from appliance.storage import kept
from appliance.storage.archive import ArchiveReader
from appliance.storage.commit import CONFLICT_KEY


class Finding(msgspec.Struct, frozen=True):
    """What a walk saw; `fault` is None when every event, head and sale row holds. `pruned`: events before anchors.

    `sales` are those that the journal still knows, pruned ones too; in an export those whose events are in it.
    """

    events: int
    epochs: int
    heads: int
    sales: int
    fault: Fault | None
    pruned: int = 0


class JournalSource:
    """A journal's file, for a walk."""

    def __init__(self, reader: sqlite3.Connection) -> None:
        self._reader = reader

    def anchors(self) -> Mapping[int, bytes]:
        """See chainwalk.Source."""
        return kept.anchors(self._reader)

    def receipts(self) -> Mapping[int, bytes]:
        """See chainwalk.Source."""
        return tables.receipt_envelopes(self._reader)

    def heads(self) -> Generator[tuple[int, bytes], None, None]:
        """See chainwalk.Source."""
        return tables.heads(self._reader, 0)

    def events(self) -> Generator[tables.Row, None, None]:
        """See chainwalk.Source."""
        return tables.events(self._reader, 0)


def verify_journal(
    path: Path, box: str, keys: Keys, progress: Progress, *, cloud_keys: Keys | None = None
) -> Finding:
    """Walk the whole journal file in one pass; `progress` hears how many events are done.

    Checked: the file's pages (SQLite's own quick check), all that chainwalk.Walk checks, and that every sale row names
    the event that holds that sale, or what is kept of it. Raises nothing for a damaged journal: the finding says it.
    """
    walk, sales = Walk(box, keys, cloud_keys or {}, progress), 0
    try:
        with closing(open_reader(path)) as reader:
            _check_pages(reader)
            walk.run(JournalSource(reader))
            with closing(tables.sales(reader)) as rows:
                for key, place in rows:
                    _check_sale(reader, key, place)
                    sales += not key.startswith(CONFLICT_KEY)
    except Found as found:
        return _finding(walk, sales, found.fault)
    except sqlite3.Error as error:
        return _finding(walk, sales, Fault(0, 0, "unreadable", _why(path, error)))
    return _finding(walk, sales)


def verify_export(folder: Path, box: str, keys: Keys, cloud_keys: Keys, progress: Progress) -> Finding:
    """Walk an export in one pass. Also checked: that it holds as many lines as its manifest says.

    Raises nothing for a damaged export: the finding says it.
    """
    walk, archive = Walk(box, keys, cloud_keys, progress), ArchiveReader(folder)
    try:
        manifest = archive.manifest()
        if manifest.box != box:
            raise Found(0, "altered", f"the manifest names {manifest.box}, the key is of {box}")
        walk.run(archive)
        said = (manifest.events, manifest.heads, manifest.anchors, manifest.receipts)
        here = (walk.events, walk.heads, len(archive.anchors()), len(archive.receipts()))
        if here != said:
            place = tables.place_of(manifest.epoch, manifest.seq)
            raise Found(place, "incomplete", f"events, heads, anchors, receipts: {here} of {said}")
    except Found as found:
        return _finding(walk, walk.sales, found.fault)
    except (OSError, Malformed) as error:
        return _finding(walk, walk.sales, Fault(0, 0, "unreadable", str(error)))
    return _finding(walk, walk.sales)


def _finding(walk: Walk, sales: int, fault: Fault | None = None) -> Finding:
    return Finding(walk.events, walk.epochs, walk.heads, sales, fault, walk.pruned)


def _why(path: Path, error: sqlite3.Error) -> str:
    if not path.is_file():
        return f"{path} is no file"
    if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_CANTOPEN:
        return f"SQLite: {error}"
    # A database in WAL mode is read by way of a file beside it.
    return (
        f"{path} cannot be opened where it is: its folder must be writable, or the file may not be read at all."
        " Copy it, with its -wal when there is one, to a folder of yours and verify the copy"
    )


def _check_pages(reader: sqlite3.Connection) -> None:
    verdict = reader.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise Found(0, "damaged-file", verdict)


def _check_sale(reader: sqlite3.Connection, key: bytes, place: int) -> None:
    body = tables.body_at(reader, place)
    if body is None:
        if kept.kept_at(reader, place) is None or tables.head_covering(reader, place) is None:
            raise Found(
                place, "stray-sale", f"sale {key.hex()} points at no event, and nothing is kept of it"
            )
        return
    if key.startswith(CONFLICT_KEY):
        return
    try:
        sale = msgspec.json.decode(chain.content(body).data, type=_SaleData).sale
    except (BadEvent, msgspec.DecodeError) as error:
        raise Found(place, "bad-event", f"sale {key.hex()} points at no sale: {error}") from error
    if sale.sale_id.replace("-", "") != key.hex():
        raise Found(place, "altered", f"sale {key.hex()} points at the event of {sale.sale_id}")


class _SaleId(msgspec.Struct, frozen=True):
    sale_id: str


class _SaleData(msgspec.Struct, frozen=True):
    sale: _SaleId

"""What a box can tell of itself to whoever helps from afar: one archive, without sales and without secrets.

No file of the state directory is copied. What is told besides is searched all the same for what looks like a secret of
ours, and such is blotted out: a log line that should not have been written stays in the shop.
"""

import io
import json
import re
import sqlite3
import tarfile
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, NamedTuple

from appliance.domain import event as chain
from appliance.domain.errors import BadEvent
from appliance.runtime.database import open_reader
from appliance.storage import journal_tables as tables

FOLDER = "storebox-diagnostics"
# What the box records of itself; a sale, or what a till asked for, is the shop's affair.
BUSINESS = ("sale", "sale_conflict", "operation_refused")
EVENTS_MAX, EVENTS_SEARCHED_MAX = 500, 50_000
BLOT = b"[blotted out]"
_SECRETS = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"  # PEM
    rb"|sbc1\.[A-Za-z0-9_-]+"  # a claim
    rb"|storebox:pair\?[^\s\"]*"  # a pairing
    rb"|(?<=[Bb]earer )[A-Za-z0-9._~+/=-]{16,}",  # a token
    re.DOTALL,
)


class Sheet(NamedTuple):
    """One file of the archive."""

    name: str
    data: bytes


def blotted(data: bytes) -> bytes:
    """The same without what looks like a secret of ours."""
    return _SECRETS.sub(BLOT, data)


def write_archive(sheets: Iterable[Sheet], to: BinaryIO, *, at_s: int) -> None:
    """Pack sheets, each as it comes, into a tar.gz. Blocks."""
    with tarfile.open(fileobj=to, mode="w:gz") as archive:
        for sheet in sheets:
            data = blotted(sheet.data)
            entry = tarfile.TarInfo(f"{FOLDER}/{sheet.name}")
            entry.size, entry.mtime, entry.mode = len(data), at_s, 0o600
            archive.addfile(entry, io.BytesIO(data))


def state_sheet(state: Path) -> Sheet:
    """Which files the state directory holds, and nothing of what is in them. Blocks."""
    rows = []
    for path in sorted(state.rglob("*")):
        stat = path.lstat()
        row = {"name": str(path.relative_to(state)), "bytes": stat.st_size, "mode": f"{stat.st_mode:o}"}
        rows.append({**row, "changed_s": int(stat.st_mtime)})
    return Sheet("state.ndjson", _lines(rows))


def events_sheet(journal: Path) -> Sheet:
    """The last technical events, verbatim; why there are none, when the journal cannot be read. Blocks."""
    name = "events.ndjson"
    if not journal.exists():
        return Sheet(name, b"")
    try:
        with closing(open_reader(journal)) as reader:
            last = tables.last_place(reader) or 0
            found = deque(_technical(reader, last - EVENTS_SEARCHED_MAX), EVENTS_MAX)
    except (sqlite3.Error, BadEvent) as error:
        return Sheet(name, _lines([{"unreadable": str(error)}]))
    return Sheet(name, b"".join(body + b"\n" for body in found))


def _technical(reader: sqlite3.Connection, after: int) -> Iterator[bytes]:
    for row in tables.events(reader, after):
        if chain.read(row.body).link.kind not in BUSINESS:
            yield row.body


def _lines(rows: Iterable[object]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)

"""An export: a journal as plain files that anybody can read and verify (docs/PROTOCOL.md, "An export").

events.jsonl    the events, verbatim, in order of the chain
heads.jsonl     the signed heads (DSSE envelopes), in the same order
anchors.jsonl   the signed anchors of epochs that were pruned
receipts.jsonl  the cloud's last receipt of each epoch
keys.pem        the box's first public key, then the cloud's
rotations.json  how later keys of the box followed the first
manifest.json   whose it is, and how many lines there must be; written last, so a cut export has none
"""

import base64
import binascii
import os
import sqlite3
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec

from appliance.domain import event as chain
from appliance.domain.canonical import canonical
from appliance.domain.dsse import Envelope
from appliance.domain.errors import BadEvent, Malformed
from appliance.domain.keychain import Rotation
from appliance.storage import journal_tables as tables
from appliance.storage import kept

EVENTS, HEADS, ANCHORS, RECEIPTS = "events.jsonl", "heads.jsonl", "anchors.jsonl", "receipts.jsonl"
KEYS, ROTATIONS, MANIFEST = "keys.pem", "rotations.json", "manifest.json"


class PublicKeys(NamedTuple):
    """What an export brings to be verified by: PEM texts, and the rotations as JSON."""

    pem: str
    rotations: bytes = b"[]"


class Manifest(msgspec.Struct, frozen=True):
    """What an export says of itself; `epoch` and `seq` are where the journal ended."""

    box: str
    at: str
    epoch: int
    seq: int
    events: int
    heads: int
    anchors: int
    receipts: int
    format: str = "storebox-export/1"


class Member(NamedTuple):
    """One file of an export: its name, its exact size, and its bytes as they come."""

    name: str
    size: int
    chunks: Iterable[bytes]


def members(reader: sqlite3.Connection, *, box: str, at: str, keys: PublicKeys) -> Iterator[Member]:
    """The files of an export, to be taken one after another, the manifest last. Flat in memory.

    `reader` must be inside a transaction: all files then show the journal at one moment, whatever is written meanwhile.
    """
    # A tar says each file's size before its bytes: all events are unpacked twice rather than kept.
    events_size, events = _sums(row.body for row in tables.events(reader, 0))
    heads_size, heads = _sums(head for _, head in tables.heads(reader, 0))
    yield Member(EVENTS, events_size, (row.body + b"\n" for row in tables.events(reader, 0)))
    yield Member(HEADS, heads_size, (head + b"\n" for _, head in tables.heads(reader, 0)))
    anchors, receipts = kept.anchors(reader), tables.receipt_envelopes(reader)
    for name, found in ((ANCHORS, anchors), (RECEIPTS, receipts)):
        lines = b"".join(envelope + b"\n" for envelope in found.values())
        yield Member(name, len(lines), [lines])
    for name, content in ((KEYS, keys.pem.encode()), (ROTATIONS, keys.rotations)):
        yield Member(name, len(content), [content])
    epoch, seq = tables.epoch_and_seq(tables.last_place(reader) or 0)
    manifest = canonical(Manifest(box, at, epoch, seq, events, heads, len(anchors), len(receipts)))
    yield Member(MANIFEST, len(manifest), [manifest])


def _sums(rows: Iterable[bytes]) -> tuple[int, int]:
    """How many bytes these lines take, a line feed each, and how many they are."""
    size = count = 0
    for row in rows:
        size += len(row) + 1
        count += 1
    return size, count


def write_member(folder: Path, member: Member) -> None:
    """One file of an export, on disk when this returns."""
    with (folder / member.name).open("wb") as file:
        for chunk in member.chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


class ArchiveReader:
    """An export's folder. Implements services.chainwalk.Source. Raises OSError for files that are not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def manifest(self) -> Manifest:
        """What the export says of itself. Raises Malformed, FileNotFoundError."""
        try:
            return msgspec.json.decode((self._folder / MANIFEST).read_bytes(), type=Manifest)
        except msgspec.DecodeError as error:
            raise Malformed(f"{MANIFEST}: {error}") from error

    def public_keys(self) -> list[str]:
        """The public keys it brings, as PEM texts."""
        text = (self._folder / KEYS).read_text()
        end = "-----END PUBLIC KEY-----\n"
        return [part + end for part in text.split(end) if part.strip()]

    def rotations(self) -> list[Rotation]:
        """How the box's keys followed one another; an export of an earlier release tells of none. Raises Malformed."""
        try:
            return msgspec.json.decode((self._folder / ROTATIONS).read_bytes(), type=list[Rotation])
        except FileNotFoundError:
            return []
        except msgspec.DecodeError as error:
            raise Malformed(f"{ROTATIONS}: {error}") from error

    def anchors(self) -> Mapping[int, bytes]:
        """See chainwalk.Source."""
        return {(place_in(line) or (0, 0))[0]: line for line in self._lines(ANCHORS)}

    def receipts(self) -> Mapping[int, bytes]:
        """See chainwalk.Source."""
        return {(place_in(line) or (0, 0))[0]: line for line in self._lines(RECEIPTS)}

    def heads(self) -> Generator[tuple[int, bytes], None, None]:
        """See chainwalk.Source. One that cannot be read stands behind the one before it."""
        place = 0
        with closing(self._lines(HEADS)) as lines:
            for line in lines:
                named = place_in(line)
                place = place + 1 if named is None else tables.place_of(*named)
                yield place, line

    def events(self) -> Generator[tables.Row, None, None]:
        """See chainwalk.Source. One that cannot be read stands behind the one before it."""
        epoch, seq = 1, 0
        with closing(self._lines(EVENTS)) as lines:
            for line in lines:
                try:
                    link = chain.read(line).link
                    epoch, seq = link.epoch, link.seq
                except BadEvent:
                    seq += 1
                yield tables.Row(epoch, seq, line)

    def _lines(self, name: str) -> Generator[bytes, None, None]:
        with (self._folder / name).open("rb") as file:
            for line in file:
                yield line.removesuffix(b"\n")


class _Place(msgspec.Struct, frozen=True):
    epoch: int
    seq: int


def place_in(envelope: bytes) -> tuple[int, int] | None:
    """The epoch and seq that an envelope names, believed by nobody yet; None when it names none."""
    try:
        payload = base64.b64decode(msgspec.json.decode(envelope, type=Envelope).payload, validate=True)
        place = msgspec.json.decode(payload, type=_Place)
    except (msgspec.DecodeError, binascii.Error, ValueError, RecursionError):
        return None
    within = 0 < place.epoch < 1 << 22 and 0 <= place.seq < 1 << tables.EPOCH_SHIFT
    return (place.epoch, place.seq) if within else None

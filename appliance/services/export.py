"""Write a journal out as plain files (storage/archive.py), beside a running daemon or without one. Reads only."""

import io
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import msgspec

from appliance.domain.errors import ConfigError
from appliance.domain.wire import ExportNote
from appliance.runtime.database import open_reader
from appliance.runtime.files import sync_directory
from appliance.storage.archive import MANIFEST, Manifest, Member, PublicKeys, members, write_member

Writer = Callable[[Member], None]


def export_to_folder(journal: Path, folder: Path, *, box: str, at: str, keys: PublicKeys) -> ExportNote:
    """All files on disk when this returns. Raises ConfigError (the folder holds something), OSError, sqlite3.Error."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty: an export never writes over anything")
    note = _export(journal, lambda member: write_member(folder, member), box=box, at=at, keys=keys)
    sync_directory(folder)
    return note


def export_to_stream(journal: Path, out: BinaryIO, *, box: str, at: str, keys: PublicKeys) -> ExportNote:
    """The same files as one tar; needs no room on the card."""
    with tarfile.open(fileobj=out, mode="w|") as tar:

        def write(member: Member) -> None:
            info = tarfile.TarInfo(member.name)
            info.size = member.size
            tar.addfile(info, io.BufferedReader(_Chunks(iter(member.chunks))))

        return _export(journal, write, box=box, at=at, keys=keys)


def _export(journal: Path, write: Writer, *, box: str, at: str, keys: PublicKeys) -> ExportNote:
    manifest = b""
    with closing(open_reader(journal)) as reader:
        reader.execute("BEGIN")  # one snapshot for all files
        for member in members(reader, box=box, at=at, keys=keys):
            if member.name == MANIFEST:
                manifest = b"".join(member.chunks)
            write(member)
        reader.execute("ROLLBACK")
    said = msgspec.json.decode(manifest, type=Manifest)
    return ExportNote(epoch=said.epoch, seq=said.seq, events=said.events)


class _Chunks(io.RawIOBase):
    """Bytes that come in pieces, as a file to read from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # the buffer that BufferedReader hands in
        """The next bytes; 0 at the end."""
        if not self._rest:
            self._rest = next(self._chunks, b"")
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count

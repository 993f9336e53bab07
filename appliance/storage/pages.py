"""Rows out of a damaged SQLite file, page by page, without its trees (sqlite.org/fileformat2.html, 1.6 and 2).

A page that is gone takes its own rows with it and no others. Nothing found here is true by itself: who reads on must
prove each row. Blocks.
"""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

LEAF_TABLE = 0x0D
DEFAULT_PAGE_SIZE = 4096
WAL_HEADER, FRAME_HEADER = 32, 24
FIRST_PAGE_HEADER = 100
# No event or envelope is longer; a damaged length must not claim much memory.
ROW_BYTES_MAX = 1024 * 1024
# After so many pages who reads them tells that it gets on: seconds on a slow card.
PAGES_A_SIGN = 1_024


class Rows(NamedTuple):
    """One row of a table of (INTEGER PRIMARY KEY, BLOB)."""

    key: int
    blob: bytes


def copy_readable(source: Path, to: Path, block: int = DEFAULT_PAGE_SIZE) -> int:
    """Copy a file from a dying card; how many blocks could not be read (zeros stand for them)."""
    unreadable, size = 0, source.stat().st_size
    with source.open("rb", buffering=0) as file, to.open("wb") as copy:
        for offset in range(0, size, block):
            length = min(block, size - offset)
            try:
                file.seek(offset)
                piece = file.read(length)
            except OSError:
                piece, unreadable = b"", unreadable + 1
            copy.write(piece.ljust(length, b"\0"))
    return unreadable


class Pages:
    """The pages of a database file, those in its WAL before those in the file. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("rb")
        header = self._file.read(FIRST_PAGE_HEADER)
        said = int.from_bytes(header[16:18], "big")
        self.size = said if said >= 512 and said & (said - 1) == 0 else DEFAULT_PAGE_SIZE
        self.count = -(-path.stat().st_size // self.size)
        wal = path.with_name(path.name + "-wal")
        self._wal: BinaryIO | None = wal.open("rb") if wal.exists() else None
        self._frames = self._frames_of(self._wal) if self._wal else {}

    def __enter__(self) -> "Pages":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._wal:
            self._wal.close()

    def rows(self, gets_on: Callable[[], None] = lambda: None) -> Iterator[Rows]:
        """Every row that can be read, in the order of the pages; `gets_on` is called after each `PAGES_A_SIGN`."""
        for done, number in enumerate(sorted({*range(1, self.count + 1), *self._frames}), start=1):
            yield from self._rows_of(number)
            if done % PAGES_A_SIGN == 0:
                gets_on()

    def _rows_of(self, number: int) -> Iterator[Rows]:
        page = self._page(number)
        if len(page) < self.size:
            return
        for cell in cells_of(page, FIRST_PAGE_HEADER if number == 1 else 0):
            row = row_at(page, cell, self._page)
            if row is not None:
                yield row

    def _page(self, number: int) -> bytes:
        if number in self._frames and self._wal:
            self._wal.seek(self._frames[number])
            return self._wal.read(self.size)
        self._file.seek((number - 1) * self.size)
        return self._file.read(self.size)

    def _frames_of(self, wal: BinaryIO) -> dict[int, int]:
        """Where the newest copy of each page stands in the WAL; frames of an earlier round have other salts."""
        header = wal.read(WAL_HEADER)
        frames: dict[int, int] = {}
        offset = WAL_HEADER
        while len(frame := wal.read(FRAME_HEADER)) == FRAME_HEADER and frame[8:16] == header[16:24]:
            frames[int.from_bytes(frame[:4], "big")] = offset + FRAME_HEADER
            offset += FRAME_HEADER + self.size
            wal.seek(offset)
        return frames


def cells_of(page: bytes, start: int = 0) -> list[int]:
    """Where the cells of a table's leaf stand in its page; none when it is another page."""
    if page[start] != LEAF_TABLE:
        return []
    (count,) = struct.unpack_from(">H", page, start + 3)
    first = start + 8
    count = min(count, (len(page) - first) // 2)
    return list(struct.unpack_from(f">{count}H", page, first))


def row_at(page: bytes, at: int, follow: Callable[[int], bytes]) -> Rows | None:
    """The row of the cell at this place, or None when there is none; `follow` gives an overflow page by its number."""
    try:
        length, at = _varint(page, at)
        key, at = _varint(page, at)
        header, first = _varint(page, at)
        null, second = _varint(page, first)
        blob, end = _varint(page, second)
        # Serial types: 0 for the key, which stands in the row's id, and an even one from 12 on for a blob.
        if end - at != header or null != 0 or blob < 12 or blob % 2 or header + (blob - 12) // 2 != length:
            return None
        if length > ROW_BYTES_MAX:
            return None
        return Rows(key, _payload(page, at, length, follow)[header:])
    except (IndexError, ValueError):
        return None


def _payload(page: bytes, at: int, length: int, follow: Callable[[int], bytes]) -> bytes:
    size = len(page)
    most = size - 35
    if length <= most:
        return _exactly(page, at, length)
    least = (size - 12) * 32 // 255 - 23
    here = least + (length - least) % (size - 4)
    here = here if here <= most else least
    pieces = [_exactly(page, at, here)]
    following = int.from_bytes(_exactly(page, at + here, 4), "big")
    left = length - here
    while left > 0:
        overflow = follow(following)
        following = int.from_bytes(_exactly(overflow, 0, 4), "big")
        pieces.append(_exactly(overflow, 4, min(left, size - 4)))
        left -= len(pieces[-1])
    return b"".join(pieces)


def _exactly(page: bytes, at: int, length: int) -> bytes:
    piece = page[at : at + length]
    if at < 0 or len(piece) != length or length == 0:
        raise ValueError("the page ends before the row does")
    return piece


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of one to nine bytes, and what follows it."""
    value = 0
    for count in range(8):
        byte = data[at + count]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + count + 1
    return value << 8 | data[at + 8], at + 9

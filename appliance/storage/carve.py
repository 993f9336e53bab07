"""Rows of journals out of the bare blocks of a card, when no file system can be read any more. Blocks.

Every leaf of a table is looked for wherever it may lie: on a sector's boundary, as SQLite's file has it, or inside a
write-ahead log, whose pages stand behind headers of 24 bytes. The same row is found many times, in old pages and in
new ones; who reads on keeps what a chain proves. A row that is longer than its page goes on in pages that are named
by number only: where page 1 of its file lies is guessed from near by, and proven by the row that comes out.
"""

import os
import struct
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import BinaryIO

from appliance.storage.pages import (
    DEFAULT_PAGE_SIZE,
    FRAME_HEADER,
    LEAF_TABLE,
    Rows,
    cells_of,
    row_at,
)

PAGE = DEFAULT_PAGE_SIZE
SECTOR = 512
CHUNK = 4 * 1024 * 1024
# How far from a leaf the rest of its rows is looked for, in pages: a group's pages are written together.
NEAR_PAGES = 256
BASES_KEPT = 8
# A row of the journal is at least an integer, a length and a few bytes.
CELLS_MAX = PAGE // 6
_HEADER = struct.Struct(">BHHHB")
_LEAF = bytes([LEAF_TABLE])
# A leaf that only grew has no free blocks.
_GROWN_LEAF = bytes([LEAF_TABLE, 0, 0])

Judge = Callable[[Rows], bool]
Progress = Callable[[int, int], None]


class Carver:
    """Searches one card. `judge` says whether a row is what it claims to be; `progress` hears (bytes done, of)."""

    def __init__(self, card: BinaryIO, size: int, judge: Judge, progress: Progress) -> None:
        self._card = card
        self._size = size
        self._judge = judge
        self._progress = progress
        self._bases: deque[int] = deque(maxlen=BASES_KEPT)
        self.unreadable = 0

    def rows(self) -> Iterator[Rows]:
        """Every row that `judge` takes, in the order of the card; many of them more than once."""
        for begin in range(0, self._size, CHUNK):
            chunk = self._read(begin, min(CHUNK + PAGE, self._size - begin))
            for at in leaves_in(chunk):
                yield from self._rows_of(chunk[at : at + PAGE], begin + at)
            self._progress(min(begin + CHUNK, self._size), self._size)

    def _rows_of(self, page: bytes, offset: int) -> Iterator[Rows]:
        for cell in cells_of(page):
            named: list[int] = []
            row = row_at(page, cell, partial(_noted, named))
            if named:
                row = self._long_row(page, cell, offset, named[0])
            elif row is not None and not self._judge(row):
                row = None
            if row is not None:
                yield row

    def _long_row(self, page: bytes, cell: int, offset: int, first: int) -> Rows | None:
        row = row_at(page, cell, lambda number: self._frame(offset, number))
        if row is not None and self._judge(row):
            return row
        for base in self._guesses(offset, first):
            row = row_at(page, cell, partial(self._numbered, base))
            if row is not None and self._judge(row):
                if base not in self._bases:
                    self._bases.append(base)
                return row
        return None

    def _guesses(self, offset: int, first: int) -> Iterator[int]:
        """Where page 1 of the file may lie, whose leaf at this offset goes on in page `first`."""
        yield from list(self._bases)
        for distance in range(1, NEAR_PAGES + 1):
            yield offset + distance * PAGE - (first - 1) * PAGE
            yield offset - distance * PAGE - (first - 1) * PAGE

    def _frame(self, offset: int, number: int) -> bytes:
        """A page out of the same write-ahead log as the leaf at `offset`, by the number and salts in its header."""
        salts = self._page(offset - FRAME_HEADER, FRAME_HEADER)[8:16]
        wanted = number.to_bytes(4, "big")
        for distance in range(1, NEAR_PAGES + 1):
            for step in (distance, -distance):
                place = offset + step * (FRAME_HEADER + PAGE)
                header = self._page(place - FRAME_HEADER, FRAME_HEADER)
                if header[:4] == wanted and header[8:16] == salts:
                    return self._page(place)
        return b""

    def _numbered(self, base: int, number: int) -> bytes:
        return self._page(base + (number - 1) * PAGE)

    def _page(self, offset: int, length: int = PAGE) -> bytes:
        if not 0 <= offset <= self._size - length:
            return b""
        try:
            return os.pread(self._card.fileno(), length, offset)
        except OSError:
            return b""

    def _read(self, begin: int, length: int) -> bytes:
        whole = self._page(begin, length)
        if len(whole) == length:
            return whole
        blocks = []
        for offset in range(begin, begin + length, PAGE):
            size = min(PAGE, begin + length - offset)
            block = self._page(offset, size)
            self.unreadable += len(block) < size
            blocks.append(block.ljust(size, b"\0"))
        return b"".join(blocks)


def leaves_in(chunk: bytes) -> list[int]:
    """Where leaves of tables may begin in the first `CHUNK` bytes, whole ones only."""
    last = min(CHUNK, len(chunk) - PAGE + 1)
    found = {at * SECTOR for at in _all(chunk[: max(last, 0) : SECTOR], _LEAF)}
    found.update(at for at in _all(chunk, _GROWN_LEAF) if at < last)
    return sorted(at for at in found if _plausible(chunk, at))


def _all(data: bytes, mark: bytes) -> Iterator[int]:
    at = data.find(mark)
    while at >= 0:
        yield at
        at = data.find(mark, at + 1)


def _plausible(chunk: bytes, at: int) -> bool:
    """Whether a leaf's header says what can be: its cells stand behind the list that names them."""
    _, free, cells, content, _ = _HEADER.unpack_from(chunk, at)
    fits: bool = _HEADER.size + 2 * cells <= (content or 65_536) <= PAGE
    return fits and 0 < cells <= CELLS_MAX and free < PAGE


def _noted(named: list[int], number: int) -> bytes:
    """Only which overflow page is asked for; there is none to give."""
    named.append(number)
    return b""

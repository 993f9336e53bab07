"""Where the file systems of a raw card begin: MBR and GPT, and which of them are ext4. Reads only. Blocks."""

import os
import stat
import struct
from pathlib import Path
from typing import BinaryIO

from appliance.storage.salvage import JOURNAL

SECTOR = 512
MBR_TABLE, MBR_ENTRY, MBR_COUNT = 446, 16, 4
MBR_MARK, GPT_MARK, SQLITE_MARK = b"\x55\xaa", b"EFI PART", b"SQLite format 3\0"
# A GPT has 128 entries of 128 bytes; a damaged one must not claim much.
GPT_ENTRIES_MAX, GPT_ENTRY_MAX = 256, 4096
EXT4_MARK_AT, EXT4_MARK = 1024 + 56, b"\x53\xef"


def is_raw(path: Path) -> bool:
    """Whether this is a block device, or may be the image of one: a file that is no journal, not even by its name."""
    if path.is_block_device():
        return True
    if not path.is_file() or path.name.startswith(JOURNAL):
        return False
    with path.open("rb") as card:
        return _at(card, 0, len(SQLITE_MARK)) != SQLITE_MARK


def size_of(path: Path) -> int:
    """How many bytes a file or a block device holds."""
    with path.open("rb", buffering=0) as card:
        return (
            card.seek(0, os.SEEK_END)
            if stat.S_ISBLK(os.fstat(card.fileno()).st_mode)
            else path.stat().st_size
        )


def file_systems(path: Path) -> list[int]:
    """Where file systems may begin, in bytes; those that say they are ext4 first."""
    with path.open("rb") as card:
        begins = sorted({0, *_table(card)})
        return sorted(begins, key=lambda begin: not _is_ext4(card, begin))


def _table(card: BinaryIO) -> list[int]:
    """Where the partitions begin; empty without a table that can be read."""
    if _at(card, SECTOR, len(GPT_MARK)) == GPT_MARK:
        return _gpt(card)
    sector = _at(card, 0, SECTOR)
    if sector[510:] != MBR_MARK:
        return []
    entries = struct.iter_unpack("<B3xB3xII", sector[MBR_TABLE : MBR_TABLE + MBR_COUNT * MBR_ENTRY])
    return [
        first * SECTOR
        for flag, kind, first, count in entries
        if flag in (0, 0x80) and kind and first and count
    ]


def _gpt(card: BinaryIO) -> list[int]:
    lba, count, size = struct.unpack("<QII", _at(card, SECTOR + 72, 16).ljust(16, b"\0"))
    if not (0 < count <= GPT_ENTRIES_MAX and 128 <= size <= GPT_ENTRY_MAX):
        return []
    found = []
    for number in range(count):
        entry = _at(card, lba * SECTOR + number * size, 48)
        if len(entry) == 48 and any(entry[:16]):
            found.append(int.from_bytes(entry[32:40], "little") * SECTOR)
    return found


def _is_ext4(card: BinaryIO, begin: int) -> bool:
    return _at(card, begin + EXT4_MARK_AT, len(EXT4_MARK)) == EXT4_MARK


def _at(card: BinaryIO, offset: int, length: int) -> bytes:
    """Some bytes; fewer where the card ends, or where it cannot be read."""
    try:
        card.seek(offset)
        return card.read(length)
    except (OSError, ValueError, OverflowError):
        return b""

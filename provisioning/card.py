"""What is on a card or in its image: where its first FAT file system begins, and files put into it (by mtools)."""

import os
import shutil
import stat
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

from appliance.domain.errors import ConfigError
from provisioning.errors import Failed

SECTOR = 512
_ENTRY_MBR = struct.Struct("<B3sB3sII")
_HEADER_GPT = struct.Struct("<8s64xQII")
_PROTECTIVE = 0xEE
_ENTRIES_MAX = 256
# Where FAT12/16 and FAT32 say what they are.
_MARKS = ((54, b"FAT1"), (82, b"FAT32"))
_MOUNTS = Path("/proc/self/mounts")
_BLOCKS = Path("/sys/class/block")


def fat_offset(path: Path) -> int:
    """Where the first FAT file system of a card begins, in bytes. Raises ConfigError when there is none. Blocks."""
    with path.open("rb") as card:
        for offset in (*_partitions(card.fileno()), 0):
            boot = os.pread(card.fileno(), SECTOR, offset)
            if boot[510:] == b"\x55\xaa" and any(boot[at:].startswith(mark) for at, mark in _MARKS):
                return offset
    raise ConfigError(f"{path}: no FAT partition, so nowhere to put settings: this is no image of a box")


def put(path: Path, offset: int, name: str, content: bytes) -> None:
    """Put a file into the file system that begins there, and read it back. Blocks.

    Raises ConfigError without mtools, Failed when it is not there afterwards.
    """
    place = f"{path}@@{offset}"
    _mtool("mcopy", "-o", "-Q", "-i", place, "-", f"::{name}", given=content)
    if _mtool("mtype", "-i", place, f"::{name}") != content:
        raise Failed(f"{name} on {path} reads back as something else: take another card")


def has_mtools() -> bool:
    """Whether files can be put onto a card here."""
    return all(shutil.which(tool) for tool in ("mcopy", "mtype"))


def check_target(path: Path, *, sure: bool, fixed: str | None) -> None:
    """Raise ConfigError unless this may be overwritten: a disk that is in use, or could be this machine's own, never.

    `sure`: what is there may go. `fixed`: the name of the one disk that may be written though it is not removable.
    """
    if not path.exists():
        if not path.parent.is_dir():
            raise ConfigError(f"{path.parent}: no such folder")
        return
    mode = path.stat().st_mode
    if not (stat.S_ISBLK(mode) or stat.S_ISREG(mode)):
        raise ConfigError(f"{path}: neither a disk nor a file")
    if stat.S_ISBLK(mode):
        _check_disk(path.resolve(), fixed)
    if not sure:
        raise ConfigError(f"{path}: everything on it would be lost; say --yes if it may be")


def _check_disk(disk: Path, fixed: str | None) -> None:
    if (_BLOCKS / disk.name / "partition").exists():
        raise ConfigError(f"{disk} is a part of a disk; name the whole one")
    used = [line.split()[:2] for line in _MOUNTS.read_text().splitlines()]
    parts = {disk.name, *(part.parent.name for part in (_BLOCKS / disk.name).glob("*/partition"))}
    for device, place in used:
        if Path(device).resolve().name in parts and device.startswith("/dev/"):
            raise ConfigError(f"{device} is in use at {place}: take it out of use first")
    removable = _BLOCKS / disk.name / "removable"
    if fixed != disk.name and (not removable.exists() or removable.read_text().strip() != "1"):
        raise ConfigError(
            f"{disk} is not removable; if it is the card all the same: --yes-this-disk {disk.name}"
        )


def _partitions(card: int) -> Iterator[int]:
    """Where the partitions begin (MBR's four, or GPT's), in bytes; none for anything else."""
    first = os.pread(card, SECTOR, 0)
    if len(first) < SECTOR or first[510:] != b"\x55\xaa":
        return
    entries = [_ENTRY_MBR.unpack_from(first, 446 + 16 * number) for number in range(4)]
    if not any(kind == _PROTECTIVE for _, _, kind, _, _, _ in entries):
        yield from (start * SECTOR for _, _, kind, _, start, count in entries if kind and start and count)
        return
    header = os.pread(card, SECTOR, SECTOR)
    signature, table, count, size = _HEADER_GPT.unpack_from(header)
    if signature != b"EFI PART" or size < 128 or count > _ENTRIES_MAX:
        return
    for number in range(count):
        entry = os.pread(card, 48, table * SECTOR + number * size)
        if len(entry) == 48 and any(entry[:16]):
            yield int.from_bytes(entry[32:40], "little") * SECTOR


def _mtool(tool: str, *arguments: str, given: bytes = b"") -> bytes:
    program = shutil.which(tool)
    if program is None:
        raise ConfigError(f"{tool} is missing: install the package mtools")
    done = subprocess.run(  # noqa: S603  found on PATH, and no shell reads the arguments
        [program, *arguments],
        input=given,
        capture_output=True,
        check=False,
        env={**os.environ, "MTOOLS_SKIP_CHECK": "1"},
    )
    if done.returncode:
        raise Failed(f"{tool}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout

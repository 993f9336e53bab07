"""Disks as an image has them: a partition table and a FAT file system, made by mtools."""

import os
import random
import struct
import subprocess
import zlib
from pathlib import Path

MIB = 1024 * 1024
FAT_AT = 1 * MIB


def fat(size: int = 4 * MIB) -> bytes:
    """An empty FAT file system."""
    path = Path(f"/proc/self/fd/{os.memfd_create('fat')}")
    path.write_bytes(bytes(size))
    descriptor = int(path.name)
    subprocess.run(
        ["mformat", "-i", str(path), "-T", str(size // 512), "-h", "16", "-s", "32", "::"],
        check=True,
        pass_fds=[descriptor],
    )
    try:
        return path.read_bytes()
    finally:
        os.close(descriptor)


def mbr(partition: bytes) -> bytes:
    """A disk whose second MBR partition is FAT, after one of Linux's."""
    table = struct.pack("<B3xB3xII", 0, 0x83, 64, 64)
    table += struct.pack("<B3xB3xII", 0x80, 0x0C, FAT_AT // 512, len(partition) // 512)
    first = bytes(446) + table.ljust(64, b"\0") + b"\x55\xaa"
    return first.ljust(FAT_AT, b"\0") + partition + random.Random(1).randbytes(MIB)


def gpt(partition: bytes) -> bytes:
    """The same with a GPT."""
    protective = bytes(446) + struct.pack("<B3xB3xII", 0, 0xEE, 1, 0xFFFFFFFF).ljust(64, b"\0") + b"\x55\xaa"
    entry = b"\1" * 16 + b"\2" * 16 + struct.pack("<QQ", FAT_AT // 512, (FAT_AT + len(partition)) // 512 - 1)
    entries = (bytes(128) + entry.ljust(128, b"\0")).ljust(128 * 128, b"\0")
    header = struct.pack("<8s64xQII", b"EFI PART", 2, 128, 128) + struct.pack("<I", zlib.crc32(entries))
    start = protective + header.ljust(512, b"\0") + entries
    return start.ljust(FAT_AT, b"\0") + partition


def on_card(path: Path, name: str) -> str:
    """What a file on a disk's FAT says."""
    place = f"{path}@@{FAT_AT}"
    return subprocess.run(
        ["mtype", "-i", place, f"::{name}"], check=True, capture_output=True
    ).stdout.decode()

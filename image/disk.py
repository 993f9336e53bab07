"""A disk out of files: each partition's file system is made by itself, then put at its place. Nothing is mounted."""

import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from image.recipe import MIB, Recipe
from image.tools import inside

# The last digits name a partition. The initrd and fstab know them: 01 settings, a1/b1 boot, a2/b2 root, da data.
DISK = "53746f72-6562-6f78-8000-0000000000"
TYPES = {
    "fat": "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7",
    "esp": "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
    "root-amd64": "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709",
    "root-arm64": "B921B045-1DF0-41C3-AF44-4C6F280D3FAE",
    "data": "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
}
SECTOR = 512
STEP = 4 * MIB


class Partition(NamedTuple):
    """One partition; without `content` its blocks are zeros."""

    name: str
    end: str
    type: str
    size: int
    content: Path | None = None


def layout(recipe: Recipe, config: Path, boot: Path, root: Path, data: Path) -> list[Partition]:
    """All partitions, in order. Slot b is empty until the first update."""
    boot_type = "esp" if recipe.architecture == "amd64" else "fat"
    root_type = f"root-{recipe.architecture}"
    boot_size, root_size = recipe.boot_mib * MIB, recipe.root_mib * MIB
    return [
        Partition("storebox-config", "01", "fat", recipe.config_mib * MIB, config),
        Partition("storebox-boot-a", "a1", boot_type, boot_size, boot),
        Partition("storebox-boot-b", "b1", boot_type, boot_size),
        Partition("storebox-root-a", "a2", root_type, root_size, root),
        Partition("storebox-root-b", "b2", root_type, root_size),
        Partition("storebox-data", "da", "data", recipe.data_mib * MIB, data),
    ]


def fat(
    tools: Path, path: str, label: str, size_mib: int, files: Iterable[tuple[str, str]], epoch: int
) -> None:
    """A FAT file system with these files (place in it, path in `tools`). Paths are seen from within `tools`."""
    when = {"SOURCE_DATE_EPOCH": str(epoch), "TZ": "UTC", "MTOOLS_SKIP_CHECK": "1"}
    inside(tools, "rm", "-f", path)
    inside(
        tools, "mkfs.vfat", "--invariant", "-F", "32", "-n", label, "-i", f"{epoch & 0xFFFFFFFF:08x}",
        "-C", path, str(size_mib * 1024), environment=when,
    )  # fmt: skip
    made = set[str]()
    for place, source in sorted(files):
        for depth in range(1, place.count("/") + 1):
            folder = "/".join(place.split("/")[:depth])
            if folder not in made:
                inside(tools, "mmd", "-i", path, f"::{folder}", environment=when)
                made.add(folder)
        inside(tools, "touch", "-h", "-d", f"@{epoch}", source)
        inside(tools, "mcopy", "-m", "-i", path, source, f"::{place}", environment=when)


def erofs(tools: Path, path: str, folder: str, epoch: int) -> None:
    """A read-only file system of a folder, the same bytes for the same files."""
    inside(tools, "rm", "-f", path)
    inside(
        tools, "mkfs.erofs", "--quiet", "-zlz4hc,9", "-C65536", f"-T{epoch}",
        f"-U{DISK}e0", "--workers=2", path, folder,
    )  # fmt: skip


def ext4(tools: Path, path: str, size_mib: int, epoch: int) -> None:
    """An empty ext4 that can grow by a thousand times."""
    inside(tools, "rm", "-f", path)
    inside(
        tools, "mke2fs", "-q", "-t", "ext4", "-b", "4096", "-m", "1", "-L", "storebox-data", "-U", f"{DISK}da",
        "-J", "size=16", "-I", "256", "-i", "16384", "-O", "metadata_csum,64bit",
        "-E", f"hash_seed={DISK}5e,resize=128G,lazy_itable_init=1,root_owner=0:0", path, f"{size_mib}M",
        environment={"E2FSPROGS_FAKE_TIME": str(epoch)},
    )  # fmt: skip


def assemble(tools: Path, path: str, partitions: list[Partition], *, hybrid: bool) -> None:
    """Write a disk. `hybrid`: the old partition table names the FAT partitions too, for a Pi 3's boot ROM."""
    lines, start = ["label: gpt", f"label-id: {DISK}00", "first-lba: 34"], MIB
    places = list[int]()
    for part in partitions:
        lines.append(
            f"start={start // SECTOR}, size={part.size // SECTOR}, type={TYPES[part.type]}, "
            f"uuid={DISK}{part.end}, name={part.name}"
        )
        places.append(start)
        start += part.size
    disk = tools / path.lstrip("/")
    disk.unlink(missing_ok=True)
    with disk.open("wb") as file:
        file.truncate(start + MIB)
    (tools / "build/table").write_text("\n".join(lines) + "\n")
    inside(tools, "sh", "-c", f"sfdisk --quiet --no-reread --no-tell-kernel {path} </build/table")
    with disk.open("r+b") as file:
        for part, place in zip(partitions, places, strict=True):
            if part.content is not None:
                _copy(part.content, file.fileno(), place, part.size)
        if hybrid:
            _name_in_mbr(file.fileno(), partitions, places)
        os.fsync(file.fileno())


def _copy(source: Path, disk: int, place: int, size: int) -> None:
    assert source.stat().st_size <= size, f"{source} is larger than its partition"
    with source.open("rb") as file:
        at = place
        while piece := file.read(STEP):
            # What is zero stays a hole.
            if piece.count(0) != len(piece):
                os.pwrite(disk, piece, at)
            at += len(piece)


def _name_in_mbr(disk: int, partitions: list[Partition], places: list[int]) -> None:
    """Entries 1 to 3: the FAT partitions, under the numbers they have in the GPT; entry 4 protects the rest."""
    entry = struct.Struct("<B3sB3sII")
    nowhere = b"\xfe\xff\xff"
    entries = [
        entry.pack(0, nowhere, 0x0C, nowhere, place // SECTOR, part.size // SECTOR)
        for part, place in zip(partitions[:3], places[:3], strict=True)
    ]
    entries.append(entry.pack(0, b"\x00\x02\x00", 0xEE, nowhere, 1, places[0] // SECTOR - 1))
    os.pwrite(disk, b"".join(entries), 446)

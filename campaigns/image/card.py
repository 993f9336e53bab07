"""A Raspberry Pi's card as its firmware sees it: partitions and boot files."""

import os
import struct
from pathlib import Path

from bench.processes import call, must

SECTOR = 512
_ENTRY_MBR = struct.Struct("<B3xB3xII")
_ENTRY_GPT = struct.Struct("<16s16sQQQ72s")
NAMES = [f"storebox-{name}" for name in ("config", "boot-a", "boot-b", "root-a", "root-b", "data")]
FIRST = ("autoboot.txt", "bootcode.bin")
BOOT = (
    *("config.txt", "cmdline.txt", "kernel8.img", "initrd.img"),
    # A partition without these is none to start from (raspberrypi/documentation, "boot_partition"), but with gpu_mem=16
    # the firmware loads the cut-down ones ("start_file, fixup_file"). Each for a Pi 3 and for a Pi 4.
    *("start.elf", "fixup.dat", "start4.elf", "fixup4.dat"),
    *("start_cd.elf", "fixup_cd.dat", "start4cd.elf", "fixup4cd.dat"),
    *("bcm2837-rpi-3-b.dtb", "bcm2837-rpi-3-b-plus.dtb", "bcm2711-rpi-4-b.dtb"),
    # A Pi 5 has its start.elf in its EEPROM. What the later stepping of its chip needs is laid over the tree.
    *("bcm2712-rpi-5-b.dtb", "overlays/bcm2712d0.dtbo"),
)


def check_card(disk: Path) -> list[str]:
    """What was found, in words. Raises Failed for what a Pi's firmware would stumble over."""
    with disk.open("rb") as file:
        card = file.fileno()
        starts = check_tables(card)
        must(os.pread(card, 4, starts[3] * SECTOR + 1024) == b"\xe2\xe1\xf5\xe0", "root-a is no erofs")
        must(os.pread(card, 2, starts[5] * SECTOR + 1024 + 56) == b"\x53\xef", "data is no ext4")
        must(not any(os.pread(card, 4096, starts[4] * SECTOR)), "root-b is not empty")
    _check_files(disk, starts[0] * SECTOR, FIRST)
    autoboot = _read(disk, starts[0] * SECTOR, "autoboot.txt").decode()
    must("tryboot_a_b=1\nboot_partition=2\n[tryboot]\nboot_partition=3" in autoboot, autoboot)
    boot = starts[1] * SECTOR
    _check_files(disk, boot, BOOT)
    config = _read(disk, boot, "config.txt").decode()
    must("kernel=kernel8.img" in config and "initramfs initrd.img followkernel" in config, config)
    kernel = _read(disk, boot, "kernel8.img")
    # Documentation/arch/arm64/booting.rst: "ARM\x64" at 56; a Pi's firmware unpacks gzip by itself.
    must(kernel[56:60] == b"ARMd" or kernel[:2] == b"\x1f\x8b", "kernel8.img is no arm64 kernel")
    return [f"{len(NAMES)} partitions, {len(BOOT)} boot files, kernel of {len(kernel) / 2**20:.0f} MiB"]


def check_tables(card: int) -> list[int]:
    """At which sectors the partitions of an open card begin. Raises Failed unless both tables name the same.

    A Pi 3's boot ROM reads the old table, the others may read either.
    """
    old = [_ENTRY_MBR.unpack_from(os.pread(card, SECTOR, 0), 446 + 16 * number) for number in range(4)]
    table = [_ENTRY_GPT.unpack_from(os.pread(card, 128, 2 * SECTOR + 128 * number)) for number in range(6)]
    names = [entry[5].decode("utf-16-le").rstrip("\0") for entry in table]
    must(names == NAMES, f"partitions: {names}")
    must([entry[1] for entry in old] == [0x0C] * 3 + [0xEE], f"old partition table: {old}")
    places = [(first, last - first + 1) for _, _, first, last, _, _ in table]
    must([entry[2:] for entry in old[:3]] == places[:3], "the two tables name different places")
    return [first for first, _ in places]


def boot_file(disk: Path, name: str) -> bytes:
    """A file of slot a's boot partition."""
    with disk.open("rb") as file:
        entry = _ENTRY_GPT.unpack_from(os.pread(file.fileno(), 128, 2 * SECTOR + 128))
    return _read(disk, entry[2] * SECTOR, name)


def _check_files(disk: Path, offset: int, names: tuple[str, ...]) -> None:
    listed = call(["mdir", "-/", "-b", "-i", f"{disk}@@{offset}", "::"]).decode().lower()
    missing = [name for name in names if f"::/{name}\n" not in listed]
    must(not missing, f"not on the boot partition: {', '.join(missing)}")


def _read(disk: Path, offset: int, name: str) -> bytes:
    return call(["mtype", "-i", f"{disk}@@{offset}", f"::{name}"])

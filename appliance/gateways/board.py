"""The machine's own account of its wear and power, from sysfs: readable to all, also inside the unit's sandbox."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from appliance.domain.wear import BoardReading

# What /sys/block/<disk>/stat counts in, whatever the disk's own blocks are (Documentation/block/stat.rst).
SECTOR_BYTES = 512
WRITTEN_SECTORS = 6
# Tenths of its life: 0x01 is up to 10 %, 0x0b more than the maker promised; 0 says nothing (JEDEC eMMC 5.0, 7.4.74).
LIFE_UNKNOWN = 0


class Board:
    """Implements services.ports.Board for the disk that holds `path`. `root` is where /sys lies."""

    def __init__(self, path: Path, root: Path = Path("/")) -> None:
        self._sys = root / "sys"
        device = path.stat().st_dev
        self._partition = (self._sys / f"dev/block/{os.major(device)}:{os.minor(device)}").resolve()
        is_part = (self._partition / "partition").exists()
        self._disk = self._partition.parent if is_part else self._partition

    def read(self) -> BoardReading:
        """A look right now. The files are the kernel's: they wait for no device."""
        return BoardReading(
            written_bytes=self._written_bytes(),
            disk_errors=_number(self._sys / "fs/ext4" / self._partition.name / "errors_count"),
            life_used_ratio=self._life_used_ratio(),
            under_voltage=self._under_voltage(),
            clock=any(_entries(self._sys / "class/rtc")),
            watchdog=self._watchdog(),
        )

    def _written_bytes(self) -> int | None:
        fields = (_text(self._disk / "stat") or "").split()
        return int(fields[WRITTEN_SECTORS]) * SECTOR_BYTES if len(fields) > WRITTEN_SECTORS else None

    def _life_used_ratio(self) -> float | None:
        said = [int(word, 16) for word in (_text(self._disk / "device/life_time") or "").split()]
        tenths = max(said, default=LIFE_UNKNOWN)
        return None if tenths == LIFE_UNKNOWN else tenths / 10

    def _under_voltage(self) -> bool | None:
        # The Raspberry Pi's firmware (Documentation/hwmon/raspberrypi-hwmon.rst).
        for monitor in _entries(self._sys / "class/hwmon"):
            if _text(monitor / "name") == "rpi_volt":
                return _number(monitor / "in0_lcrit_alarm") == 1
        return None

    def _watchdog(self) -> Literal["armed", "off", "none"]:
        states = [state for dog in _entries(self._sys / "class/watchdog") if (state := _text(dog / "state"))]
        if not states:
            return "none"
        return "armed" if "active" in states else "off"


def _entries(folder: Path) -> Iterator[Path]:
    try:
        yield from sorted(folder.iterdir())
    except OSError:
        return


def _text(file: Path) -> str | None:
    try:
        return file.read_text().strip()
    except OSError:
        return None


def _number(file: Path) -> int | None:
    text = _text(file)
    return int(text) if text and text.isdecimal() else None

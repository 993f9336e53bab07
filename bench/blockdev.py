"""The block device under a folder, and what was written to it."""

import os
from pathlib import Path

from bench.processes import Failed

STATISTICS = Path("/proc/diskstats")
# The unit of /proc/diskstats, whatever the device's own is (kernel: Documentation/admin-guide/iostats.rst).
SECTOR_BYTES = 512


class Device:
    """Counts what reaches a device: from everybody, with file system's journal and metadata."""

    def __init__(self, folder: Path, statistics: Path = STATISTICS) -> None:
        """Raises Failed when there is no device under the folder (tmpfs, overlay) or the kernel does not count it."""
        number = folder.stat().st_dev
        self._key = [str(os.major(number)), str(os.minor(number))]
        self._statistics = statistics
        self._folder = folder
        self.name = self._fields()[2]

    def written_bytes(self) -> int:
        """Bytes written since the machine began, after all that waits in memory has been flushed."""
        os.sync()
        return int(self._fields()[9]) * SECTOR_BYTES

    def _fields(self) -> list[str]:
        for line in self._statistics.read_text().splitlines():
            fields = line.split()
            if fields[:2] == self._key:
                return fields
        raise Failed(
            f"{self._folder} stands on no block device that {self._statistics} counts"
            " (a tmpfs, an overlay?): name another folder with --dir"
        )

"""The machine the box runs on, by psutil."""

from pathlib import Path

import psutil

from appliance.domain.health import HostReading


class MachineHost:
    """Implements services.ports.Host for the disk that holds `path` and for this process.

    `cpu_ratio` is that of all processors since the reading before (the first one says 0).
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> HostReading:
        """A reading right now."""
        usage = psutil.disk_usage(str(self._path))
        return HostReading(
            # What an ordinary user may still write, as df counts it: blocks reserved for root do not help a sale.
            disk_free_ratio=usage.free / max(1, usage.used + usage.free),
            memory_rss_bytes=psutil.Process().memory_info().rss,
            cpu_ratio=psutil.cpu_percent(interval=None) / 100,
        )

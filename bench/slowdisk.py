"""A disk that syncs slowly, as an SD card does: for a process of ours that is started with this environment.

`slow_sync.c` is compiled and preloaded: the process's own fsync and fdatasync, SQLite's too, take so much longer. The
product is not touched, and nothing else on the machine gets slower.
"""

import os
import shutil
from pathlib import Path

from bench.processes import Failed, call

SOURCE = Path(__file__).with_name("slow_sync.c")
COUNTER_BYTES = 8


class SlowDisk:
    """The compiled library, and how often it was passed through."""

    def __init__(self, folder: Path, added_ms: float) -> None:
        """Raises Failed when there is no C compiler, or it cannot compile this."""
        compiler = shutil.which("cc")
        if compiler is None:
            raise Failed("a slow disk needs a C compiler (`cc`; on Debian: apt install gcc libc6-dev)")
        library, self._counter = folder / "slow_sync.so", folder / "slow_sync.count"
        call([compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE)])
        self._counter.write_bytes(bytes(COUNTER_BYTES))
        self.environment = {
            **os.environ,
            "LD_PRELOAD": str(library),
            "SLOW_SYNC_US": str(round(added_ms * 1_000)),
            "SLOW_SYNC_COUNT": str(self._counter),
        }

    def syncs(self) -> int:
        """How many syncs there have been in all processes that were started with this environment."""
        return int.from_bytes(self._counter.read_bytes(), "little")

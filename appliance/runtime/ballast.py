"""Room kept for the worst day: a file that holds blocks of the disk, to be let go when everything else has filled it.

On a full disk a database in WAL mode can do nothing any more, not even delete or checkpoint. What the ballast gives
back lets work in hand end, and the trouble be told.
"""

import contextlib
import os
import shutil
from pathlib import Path

from appliance.runtime.files import sync_directory


class Ballast:
    """One file of `size` bytes; 0: none is kept. Blocks: to be called on a thread."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self.size = size

    def free_bytes(self) -> int:
        """What an ordinary user may still write on this disk, the ballast not counted."""
        return shutil.disk_usage(self._path.parent).free

    def held(self) -> bool:
        """Whether the whole of it is there, and nothing when none is kept."""
        return self._bytes() == (self.size or None)

    def spent(self) -> bool:
        """Whether it was let go and has not been taken again since, also by an earlier process."""
        return self.size > 0 and self._bytes() == 0

    def hold(self) -> bool:
        """Take the blocks, on disk when this returns; False, and nothing taken, when there is no room for them."""
        if self.held():
            return True
        if self.size == 0:
            self._path.unlink(missing_ok=True)
            return True
        before = self._bytes()
        try:
            with self._path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self.size)
                os.fsync(file.fileno())
            sync_directory(self._path.parent)
        except OSError:
            self.let_go()
            if before is None:
                self._path.unlink(missing_ok=True)
            return False
        return True

    def let_go(self) -> None:
        """Give the blocks back; the empty file says so. A disk that takes no change at all keeps them."""
        with contextlib.suppress(OSError):
            os.truncate(self._path, 0)

    def _bytes(self) -> int | None:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return None

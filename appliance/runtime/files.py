"""Small files that must be whole or absent after a power cut, and the lock that keeps a second daemon out."""

import contextlib
import fcntl
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

from appliance.domain.errors import ConfigError


def write_whole(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace a file at once: on disk under its name, with this content and mode, when this returns.

    Written beside, fsynced, renamed; then the directory is fsynced, since the name is its data.
    """
    beside = path.with_name(path.name + ".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)  # one left by a crash keeps the mode it had
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_past_cache(path: Path) -> None:
    """Have the device answer: returns once it has read the file's first page, or refused to.

    The page cache would answer in its place for as long as the machine runs, hence O_DIRECT. A file system without it
    (tmpfs, before Linux 6.6) has no device that could be silent.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
        try:
            with mmap.mmap(-1, mmap.PAGESIZE) as page:  # O_DIRECT wants its memory aligned
                os.preadv(descriptor, [page], 0)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def sole_owner(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file while inside. Raises ConfigError at once when another process holds it."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"{path.parent}: another process is running on this state directory") from error
        yield

"""What the box keeps of updates, in two directories: the daemon's own, and the records of the root units.

Neither side writes into the other's: who asks is not trusted to name files, and who installs is not to be misled by a
link that an attacker left. All of it blocks.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from appliance.domain.canonical import canonical
from appliance.domain.update import Attempt, Outcome, Request
from appliance.runtime.files import sync_directory, write_whole

Kept = TypeVar("Kept")

READ_BYTES = 1024 * 1024
# Requests and records are a few hundred bytes.
RECORD_BYTES_MAX = 64 * 1024


class Memory(msgspec.Struct, frozen=True):
    """What must be known of earlier offers: the last that ended, the highest floor, the last outcome and its digest."""

    ended: int = 0
    floor: str = "0.0.0"
    told: str = ""
    last: str = ""
    last_version: str = ""
    last_reason: str = ""


class UpdateFiles:
    """The daemon's own directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.bundle = directory / "bundle.raucb"
        self._part = directory / "bundle.part"
        self._offer = directory / "offer"
        self._memory = directory / "memory"
        self._request = directory / "request"

    def memory(self) -> Memory:
        """What is remembered; nothing when it cannot be read."""
        return _read(self._memory, Memory) or Memory()

    def remember(self, memory: Memory) -> None:
        """Keep it; on disk when this returns. Raises OSError."""
        self._write(self._memory, canonical(memory))

    def offer(self) -> bytes | None:
        """The envelope of the offer that was taken."""
        with contextlib.suppress(FileNotFoundError):
            return self._offer.read_bytes()
        return None

    def take(self, envelope: bytes) -> None:
        """Keep an offer, and nothing of the one before. Raises OSError."""
        self.drop()
        self._write(self._offer, envelope)

    def drop(self) -> None:
        """Forget the offer and what was fetched of it. Raises OSError."""
        for path in (self._request, self._offer, self._part, self.bundle):
            path.unlink(missing_ok=True)

    def fetched(self) -> int:
        """How many bytes of the bundle are here."""
        with contextlib.suppress(FileNotFoundError):
            return self._part.stat().st_size
        return 0

    def append(self, piece: bytes, start: int) -> None:
        """Put a piece at its place; on disk when this returns, so that it need not be fetched again. Raises OSError."""
        with self._part.open("r+b" if start else "wb") as file:
            file.truncate(start)
            file.seek(start)
            file.write(piece)
            file.flush()
            os.fsync(file.fileno())

    def whole(self) -> bool:
        """Whether the bundle is here, and was found to be the one that was offered."""
        return self.bundle.exists()

    def finish(self, sha256: str) -> bool:
        """Take what was fetched for the bundle if it has this hash; else forget it. Raises OSError."""
        if sha256_of(self._part) != sha256:
            self._part.unlink()
            return False
        self._part.replace(self.bundle)
        sync_directory(self._directory)
        return True

    def request(self) -> Request | None:
        """What was asked of the root unit and not yet taken up."""
        return _read(self._request, Request)

    def ask(self, request: Request) -> None:
        """Ask the root unit. Raises OSError."""
        self._write(self._request, canonical(request))

    def take_request(self) -> Request | None:
        """What is asked, for the root unit: it is asked no more, whatever stood there. Follows no link."""
        try:
            directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            return msgspec.json.decode(_read_at(directory, self._request.name), type=Request)
        except (OSError, msgspec.DecodeError):
            return None
        finally:
            with contextlib.suppress(OSError):
                os.unlink(self._request.name, dir_fd=directory)
            os.close(directory)

    def _write(self, path: Path, body: bytes) -> None:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        write_whole(path, body)


class UpdateRecords:
    """The records of the root units; the daemon only reads them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._attempt = directory / "attempt"
        self._outcome = directory / "outcome"
        self._working = directory / "working"

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """A root unit is at work inside; another one is waited for. Raises OSError."""
        with self._working.open("a") as file:
            os.fchmod(file.fileno(), 0o644)  # the daemon looks, whoever made the file
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def at_work(self) -> bool:
        """Whether a root unit is at work: from one that was killed the kernel takes the lock. Raises OSError."""
        try:
            with self._working.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False  # none ever was
        except BlockingIOError:
            return True
        return False

    def attempt(self) -> Attempt | None:
        """How far the root units are with a request."""
        return _read(self._attempt, Attempt)

    def begin(self, attempt: Attempt) -> None:
        """Say how far; on disk when this returns. Raises OSError."""
        write_whole(self._attempt, canonical(attempt), mode=0o644)

    def outcome(self) -> Outcome | None:
        """What became of the last request."""
        return _read(self._outcome, Outcome)

    def end(self, outcome: Outcome | None) -> None:
        """Say what became of it (None: nothing is worth saying); no attempt goes on after this. Raises OSError."""
        if outcome is not None:
            write_whole(self._outcome, canonical(outcome), mode=0o644)
        self._attempt.unlink(missing_ok=True)
        sync_directory(self._directory)


def sha256_of(path: Path) -> str:
    """The hash of a file. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(READ_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def _read_at(directory: int, name: str) -> bytes:
    # Not to wait for who may write into a pipe that stands there.
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    try:
        return os.read(file, RECORD_BYTES_MAX)
    finally:
        os.close(file)


def _read(path: Path, kind: type[Kept]) -> Kept | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError):
        return None

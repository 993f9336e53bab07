"""A lossy file system mounted for as long as a block runs, and how to talk to it."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from campaigns.powercut.disk import AnyOp, Model
from campaigns.powercut.lossyfs import CONTROL, TOLD, Answer, Order

_READY_S = 10.0
_recording = msgspec.msgpack.Decoder(list[AnyOp])


class Unusable(Exception):
    """No such file system can be had here; the text says what is missing."""


class Mount:
    """The mounted disk, and the hand on its switch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def told(self) -> Path:
        """Words written here stand among the recorded operations."""
        return self.folder / TOLD[1:]

    def wipe(self) -> None:
        """A new, empty disk with power on, telling the truth; nothing recorded, all counts at 0."""
        self._order(Order("wipe"))

    def arm(self, at: int, pid: int, model: Model, seed: str) -> None:
        """Kill the process and cut the power at the `at`-th call from now that changes the disk."""
        self._order(Order("arm", at=at, pid=pid, model=model, seed=seed))

    def cut(self, pid: int, model: Model, seed: str) -> None:
        """Kill the process (0: nobody) and cut the power now."""
        self._order(Order("cut", pid=pid, model=model, seed=seed))

    def power_on(self) -> None:
        """Call it when the process that was cut off is gone; also disarms."""
        self._order(Order("power"))

    def lie(self) -> None:
        """From now on fsync answers well and does nothing."""
        self._order(Order("lie", at=1))

    def fail_syncs(self, after: int, times: int) -> None:
        """Let some fsyncs pass, then fail some with EIO (until the next cut)."""
        self._order(Order("fail_syncs", at=after, times=times))

    def answer(self) -> Answer:
        """The counts so far."""
        return self._talk(None)

    def recording(self) -> list[AnyOp]:
        """All operations since the last wipe or the last recording."""
        descriptor, name = tempfile.mkstemp(prefix="powercut-", suffix=".ops")
        os.close(descriptor)
        try:
            self._order(Order("save", path=name))
            return _recording.decode(Path(name).read_bytes())
        finally:
            Path(name).unlink()

    def _order(self, order: Order) -> Answer:
        return self._talk(msgspec.json.encode(order))

    def _talk(self, words: bytes | None) -> Answer:
        # Opened anew each time: the kernel caches what one opening has read.
        descriptor = os.open(self.folder / CONTROL[1:], os.O_RDWR)
        try:
            if words is not None:
                os.write(descriptor, words)
            return msgspec.json.decode(os.pread(descriptor, 4096, 0), type=Answer)
        finally:
            os.close(descriptor)


@contextmanager
def mounted() -> Iterator[Mount]:
    """A new lossy file system while inside. Raises Unusable without FUSE."""
    unmount = shutil.which("fusermount3")
    if unmount is None or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        raise Unusable("a lossy file system needs /dev/fuse and the package fuse3")
    folder = Path(tempfile.mkdtemp(prefix="powercut-"))
    command = [sys.executable, "-m", "campaigns.powercut.lossyfs", str(folder)]
    server = subprocess.Popen(command, stderr=subprocess.PIPE)  # noqa: S603  our own program
    try:
        _wait_for(folder, server)
        yield Mount(folder)
    finally:
        _call([unmount, "-u", "-z", str(folder)])
        try:
            server.wait(5)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        assert server.stderr is not None
        server.stderr.close()
        folder.rmdir()


def _wait_for(folder: Path, server: subprocess.Popen[bytes]) -> None:
    until_s = time.monotonic() + _READY_S
    while not folder.is_mount():
        if server.poll() is not None or time.monotonic() > until_s:
            server.kill()
            assert server.stderr is not None
            raise Unusable(f"the lossy file system does not mount: {server.stderr.read().decode()[-1000:]}")
        time.sleep(0.01)


def _call(command: Sequence[str]) -> None:
    subprocess.run(command, check=False, capture_output=True)  # noqa: S603  our own choice of program

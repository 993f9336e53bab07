"""Work in a process of its own, forked off from this one: a few milliseconds instead of an interpreter's start.

What the work tells comes back over a pipe, line by line, up to the moment of its death; `died: ...` when it failed.
"""

import os
import select
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from typing import NoReturn

from appliance.domain.errors import StoreboxError

Tell = Callable[[str], None]

_PATIENCE_S = 60.0


class Stuck(Exception):
    """A process that should have ended did not; it was killed."""


class Child:
    """A forked process. Read its `lines` to the end, then `wait`."""

    def __init__(self, work: Callable[[Tell], None]) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self._part = b""
        self._heard: deque[str] = deque()
        self._pipe, told = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._pipe)
            _work_and_end(work, told)
        os.close(told)

    def lines(self, within_s: float = _PATIENCE_S) -> Iterator[str]:
        """What it tells, until it ends. Raises TimeoutError after so long; whoever asks again hears the rest."""
        until_s = time.monotonic() + within_s
        while True:
            while self._heard:
                yield self._heard.popleft()
            left_s = max(0.0, until_s - time.monotonic())
            if not select.select([self._pipe], [], [], left_s)[0]:
                raise TimeoutError
            read = os.read(self._pipe, 65_536)
            if not read:
                return
            *whole, self._part = (self._part + read).split(b"\n")
            self._heard.extend(line.decode() for line in whole)

    def wait(self) -> int:
        """Its exit status as of waitpid; the process is gone when this returns."""
        os.close(self._pipe)
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)

    def finish(self) -> tuple[list[str], int]:
        """All it tells from here on, and its exit status. Raises Stuck."""
        try:
            lines = list(self.lines())
        except TimeoutError:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
            raise Stuck(f"process {self.pid} was still running after {_PATIENCE_S:g} s") from None
        return lines, self.wait()


def _work_and_end(work: Callable[[Tell], None], told: int) -> NoReturn:
    def tell(line: str) -> None:
        os.write(told, line.encode() + b"\n")

    status = 1
    try:
        work(tell)
        status = 0
    except StoreboxError as error:
        tell(f"died: {error}")
    except BaseException:
        tell(f"died: {traceback.format_exc()!r}")
    finally:
        # Nothing of the parent's may run here: no exit handlers, no buffers written twice.
        os._exit(status)

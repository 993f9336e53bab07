"""Programs of ours in processes of their own, ended by the id they were started with."""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

STOP_S = 20.0
# The programs that stand beside the interpreter which runs this.
PROGRAMS = Path(sys.executable).parent


class Failed(Exception):
    """A program did not do what it was started for; the end of what it said on standard error is in the text."""


def must(holds: bool, what: str) -> None:
    """Raise Failed, saying `what`, unless it holds."""
    if not holds:
        raise Failed(what)


class Server(NamedTuple):
    """A running server, the seconds from its start to the line `ready URL`, and when it was started (perf_counter)."""

    url: str
    pid: int
    ready_s: float
    started_s: float

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)


def program(name: str) -> str:
    """The path of one of our commands. Raises Failed when it is not installed."""
    path = PROGRAMS / name
    if not path.exists():
        raise Failed(f"{path} is missing: `make bench` installs it")
    return str(path)


def python(*arguments: str) -> list[str]:
    """A command that runs this interpreter."""
    return [sys.executable, *arguments]


def call(command: Sequence[str], given: bytes = b"", environment: Mapping[str, str] | None = None) -> bytes:
    """Run a command to its end; what it printed. Raises Failed unless it exits 0."""
    done = subprocess.run(  # noqa: S603  our own programs
        command, input=given, capture_output=True, check=False, env=environment
    )
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)} exited {done.returncode}: {done.stderr.decode()[-2000:]}")
    return done.stdout


@contextmanager
def serving(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """A server while inside, from its line `ready URL` on; ended with SIGTERM. What it logs goes to the file.

    Raises Failed when it ends before it is ready, or does not end well.
    """
    with log.open("ab") as errors:
        started_s = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603  our own programs
            command, stdout=subprocess.PIPE, stderr=errors, env=environment
        )
        try:
            assert process.stdout is not None
            url = _ready(process.stdout, command, log)
            yield Server(url, process.pid, time.perf_counter() - started_s, started_s)
        finally:
            process.terminate()
            try:
                code = process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise Failed(f"{' '.join(command)} did not end within {STOP_S} s") from None
            assert process.stdout is not None
            process.stdout.close()
    if code != 0:
        raise Failed(f"{' '.join(command)} exited {code}: {_tail(log)}")


@contextmanager
def waiting(code: str) -> Iterator[Server]:
    """An interpreter that has run this code and waits, while inside."""
    command = python("-c", f"{code}\nprint('ready', flush=True)\nimport sys; sys.stdin.read()")
    started_s = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603  our own code
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise Failed(f"{code!r} failed")
        yield Server("", process.pid, time.perf_counter() - started_s, started_s)


def peak_mb(pid: int) -> float:
    """The most it ever had (VmHWM, see proc(5)): no moment between two looks is missed."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kib = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(kib) * 1024 / 1e6


def _ready(output: IO[bytes], command: Sequence[str], log: Path) -> str:
    word, _, url = output.readline().decode().strip().partition(" ")
    if word != "ready":
        raise Failed(f"{' '.join(command)} is not ready: {_tail(log)}")
    return url


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]

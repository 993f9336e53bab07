"""The real commands as child processes: started, listened to, stopped or killed; only those that we started.

What a child says on standard output is read line by line; its standard error goes to a file, kept for whoever looks.
"""

import asyncio
import os
import signal
import sysconfig
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from appliance.domain.errors import StoreboxError

# A cold start on a busy machine; the box checks its journal first.
READY_S = 60.0
# A till ends after the ticket in hand, which may wait for two peers that do not answer.
STOP_S = 15.0
# One shot commands: the longest imports a catalogue of 100,000 articles.
COMMAND_S = 300.0
# A line of output: a mode, a sale, a list of addresses; far below.
LINE_BYTES_MAX = 1024 * 1024
# How much of a child's last words an error repeats.
LAST_WORDS = 5

Said = Mapping[str, Any]
Hear = Callable[[Said], None]


class ChildFailed(StoreboxError):
    """A child process did not do what it was started for; says which, how it ended and its last words."""

    code, title = "child-failed", "A program of the demo failed"


def command(name: str) -> str:
    """The path of one of our own commands, in the environment that this program runs in.

    Raises ChildFailed when it is not installed there.
    """
    path = Path(sysconfig.get_path("scripts")) / name
    if not path.exists():
        raise ChildFailed(f"{path} is absent; install the project in this environment first (make run does)")
    return str(path)


async def run_command(argv: Sequence[str], *, log: Path, given: bytes | None = None) -> str:
    """Run a command to its end, with `given` as its input; its standard output.

    Raises ChildFailed when it ends with another code than 0.
    """
    before = _size(log)
    process = await _spawn(argv, log, stdin=DEVNULL if given is None else PIPE, secrets={})
    try:
        async with asyncio.timeout(COMMAND_S):
            said, _ = await process.communicate(given)
    except TimeoutError as error:
        raise ChildFailed(f"{_named(argv)} did not end within {COMMAND_S:.0f} s") from error
    finally:
        await _kill(process)
    if process.returncode != 0:
        raise ChildFailed(_ending(argv, process, log, before))
    return said.decode().strip()


class Child:
    """A process that runs until it is told to stop. Use `start_child`."""

    def __init__(self, argv: Sequence[str], process: Process, log: Path, log_before: int, hear: Hear) -> None:
        self._argv = argv
        self._process = process
        self._log = log
        self._log_before = log_before
        self._hear = hear
        self._ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._listening = asyncio.create_task(self._listen(), name=f"listen-{_named(argv)}")

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    @property
    def ending(self) -> str:
        """How it ended, with its last words."""
        return _ending(self._argv, self._process, self._log, self._log_before)

    async def ready(self) -> str:
        """Wait for its line `ready URL`; the URL. Raises ChildFailed when it ends, or says nothing, before that."""
        try:
            async with asyncio.timeout(READY_S):
                return await asyncio.shield(self._ready)
        except TimeoutError as error:
            raise ChildFailed(f"{_named(self._argv)} was not ready within {READY_S:.0f} s") from error

    async def write(self, data: bytes) -> bool:
        """Give it bytes on standard input, as fast as it takes them; False when it no longer listens."""
        assert self._process.stdin is not None, "started without an input"
        try:
            self._process.stdin.write(data)
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def end_input(self) -> None:
        """Tell it that nothing more comes."""
        assert self._process.stdin is not None, "started without an input"
        self._process.stdin.close()

    async def wait(self) -> int:
        """Wait until it has ended and all it said was heard; its exit code."""
        await asyncio.shield(self._listening)
        return await self._process.wait()

    async def stop(self) -> int:
        """Ask it to stop, wait for it, and only then kill it; its exit code, all it said having been heard."""
        if self.running:
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_S):
                return await self.wait()
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> int:
        """End it the hard way (SIGKILL), as a power cut would; its exit code."""
        await _kill(self._process)
        return await self.wait()

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            word, _, rest = line.decode(errors="replace").strip().partition(" ")
            if word == "ready" and not self._ready.done():
                self._ready.set_result(rest)
            elif line.startswith(b"{") and line.endswith(b"\n"):  # a kill may cut the last line short
                self._hear(msgspec.json.decode(line))
        await self._process.wait()
        if not self._ready.done():
            self._ready.set_exception(ChildFailed(self.ending))
            self._ready.exception()  # most children are never asked whether they are ready


async def start_child(
    argv: Sequence[str],
    *,
    log: Path,
    hear: Hear,
    with_input: bool = False,
    secrets: Mapping[str, str] | None = None,
) -> Child:
    """Start a process; `hear` is called with each JSON object that it says, as it says it.

    `secrets` go into its environment: everybody on the machine may read its arguments.
    """
    before = _size(log)
    process = await _spawn(argv, log, stdin=PIPE if with_input else DEVNULL, secrets=secrets or {})
    return Child(argv, process, log, before, hear)


async def _spawn(argv: Sequence[str], log: Path, *, stdin: int, secrets: Mapping[str, str]) -> Process:
    with log.open("ab") as errors:
        return await asyncio.create_subprocess_exec(
            *argv,
            stdin=stdin,
            stdout=PIPE,
            stderr=errors,
            env={**os.environ, **secrets},
            # A session of its own: Ctrl-C in a terminal goes to whole groups, and the order of stopping is ours.
            start_new_session=True,
            limit=LINE_BYTES_MAX,
        )


async def _kill(process: Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def _ending(argv: Sequence[str], process: Process, log: Path, log_before: int) -> str:
    with log.open("rb") as file:
        file.seek(log_before)
        last = file.read().decode(errors="replace").splitlines()[-LAST_WORDS:]
    return "\n  ".join([f"{_named(argv)} ended with code {process.returncode} ({log}):", *last])


def _named(argv: Sequence[str]) -> str:
    return " ".join([Path(argv[0]).name, *argv[1:2]])

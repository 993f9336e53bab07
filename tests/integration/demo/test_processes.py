"""Child processes: readiness, what they say, stopping and killing. The children are small programs of these tests."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from demo.processes import Child, ChildFailed, command, run_command, start_child

SERVES = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: (print('{"event": "bye"}', flush=True), sys.exit(0)))
print("ready http://127.0.0.1:1", flush=True)
signal.pause()
"""


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


async def start(
    text: str, tmp_path: Path, heard: list[Any] | None = None, *, with_input: bool = False
) -> Child:
    said = [] if heard is None else heard
    return await start_child(program(text), log=tmp_path / "log", hear=said.append, with_input=with_input)


async def test_a_child_is_ready_once_it_says_where(tmp_path: Path) -> None:
    child = await start(SERVES, tmp_path)

    assert await child.ready() == "http://127.0.0.1:1"
    await child.kill()


async def test_a_child_that_ends_before_it_is_ready_shows_its_last_words(tmp_path: Path) -> None:
    child = await start("import sys; sys.exit('no such shop')", tmp_path)

    with pytest.raises(ChildFailed, match=r"(?s)ended with code 1.*no such shop"):
        await child.ready()


async def test_what_a_child_says_is_heard_in_order(tmp_path: Path) -> None:
    heard: list[Any] = []
    text = """print('{"n": 1}'); print("no object"); print('{"n": 2}'); print('{"n":', end="")"""
    child = await start(text, tmp_path, heard)

    assert await child.wait() == 0
    assert heard == [{"n": 1}, {"n": 2}]


async def test_stopping_lets_a_child_say_good_bye(tmp_path: Path) -> None:
    heard: list[Any] = []
    child = await start(SERVES, tmp_path, heard)
    await child.ready()

    assert await child.stop() == 0
    assert heard == [{"event": "bye"}]
    assert not child.running


async def test_killing_leaves_no_time_for_that(tmp_path: Path) -> None:
    heard: list[Any] = []
    child = await start(SERVES, tmp_path, heard)
    await child.ready()

    assert await child.kill() == -signal.SIGKILL
    assert heard == []


async def test_stopping_what_has_ended_tells_its_code(tmp_path: Path) -> None:
    child = await start("import sys; sys.exit(3)", tmp_path)
    await child.wait()

    assert await child.stop() == 3


async def test_a_child_reads_its_input_until_it_ends(tmp_path: Path) -> None:
    heard: list[Any] = []
    text = "import sys\nfor line in sys.stdin: print(line, end='')"
    child = await start(text, tmp_path, heard, with_input=True)

    assert await child.write(b'{"step": 1}\n')
    assert await child.write(b'{"step": 2}\n')
    child.end_input()

    assert await child.wait() == 0
    assert heard == [{"step": 1}, {"step": 2}]


async def test_writing_to_a_dead_child_says_so(tmp_path: Path) -> None:
    child = await start("pass", tmp_path, with_input=True)
    await child.wait()

    assert [await child.write(b"x" * 1_000_000) for _ in range(2)][-1] is False


async def test_standard_error_is_kept(tmp_path: Path) -> None:
    for word in ("first", "second"):
        child = await start(f"import sys; print('{word}', file=sys.stderr)", tmp_path)
        await child.wait()

    assert (tmp_path / "log").read_text() == "first\nsecond\n"


async def test_a_command_gives_its_output(tmp_path: Path) -> None:
    assert await run_command(program("print('token')"), log=tmp_path / "log") == "token"


async def test_a_command_that_fails_shows_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ChildFailed, match=r"(?s)code 2.*bad key"):
        await run_command(
            program("import sys; print('bad key', file=sys.stderr); sys.exit(2)"), log=tmp_path / "log"
        )


async def test_a_cancelled_command_leaves_no_process(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    text = (
        f"import os, signal; open({str(pid_file)!r}, 'w').write(str(os.getpid())); print(1); signal.pause()"
    )
    running = asyncio.create_task(run_command(program(text), log=tmp_path / "log"))
    while not (pid := await asyncio.to_thread(read_if_there, pid_file)):
        pass

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert not psutil.pid_exists(int(pid))


def read_if_there(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_our_own_commands_are_found_beside_the_interpreter() -> None:
    assert command("storebox").endswith("/storebox")


def test_a_command_that_is_not_installed_is_named() -> None:
    with pytest.raises(ChildFailed, match="storebox-nothing is absent"):
        command("storebox-nothing")

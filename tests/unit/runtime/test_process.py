"""The outer shell of a daemon."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest
import uvloop

from appliance.runtime.process import run_daemon

DAEMON = """
import asyncio
from appliance.runtime.process import run_daemon

async def main(stop: asyncio.Event) -> None:
    print("running", flush=True)
    await stop.wait()
    print("cleaned up", flush=True)

run_daemon(main)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_daemon_clean_up_and_end_well(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", DAEMON], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == b"running\n"
        daemon.send_signal(number)
        out, err = daemon.communicate(timeout=20)

    assert (daemon.returncode, out, err) == (0, b"cleaned up\n", b"")


def test_the_daemon_runs_on_uvloop_until_it_returns_and_a_second_signal_changes_nothing() -> None:
    seen: list[object] = []

    async def main(stop: asyncio.Event) -> None:
        seen.append(asyncio.get_running_loop())
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        seen.append("stopped")

    run_daemon(main)

    assert isinstance(seen[0], uvloop.Loop)
    assert seen[1:] == ["stopped"]


def test_what_stops_the_daemon_reaches_the_caller() -> None:
    async def main(stop: asyncio.Event) -> None:
        raise RuntimeError("no state directory")

    with pytest.raises(RuntimeError, match="no state directory"):
        run_daemon(main)


def test_what_keeps_to_one_core_takes_its_later_threads_along() -> None:
    code = """
import os, threading
from appliance.runtime.process import keep_to_one_core

keep_to_one_core()
seen = [os.sched_getaffinity(0)]
thread = threading.Thread(target=lambda: seen.append(os.sched_getaffinity(0)))
thread.start()
thread.join()
print(len(seen[0]), seen[0] == seen[1])
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=20).stdout

    assert out == b"1 True\n"


def test_where_no_core_may_be_chosen_all_are_used() -> None:
    code = """
import os
from appliance.runtime.process import keep_to_one_core

before = os.sched_getaffinity(0)
def refused(pid: int, cores: object) -> None:  # as a unit's filter of system calls does
    raise PermissionError(1, "Operation not permitted")
os.sched_setaffinity = refused
keep_to_one_core()
print(os.sched_getaffinity(0) == before)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=20).stdout

    assert out == b"True\n"

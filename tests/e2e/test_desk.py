"""The installed command `storebox-demo`: a whole shop for some seconds, with its line cut and its box killed."""

import asyncio
import json
import signal
import sysconfig
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

import psutil
import pytest

STOREBOX_DEMO = Path(sysconfig.get_path("scripts")) / "storebox-demo"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]


async def start(state: Path, *arguments: str) -> Process:
    return await asyncio.create_subprocess_exec(
        STOREBOX_DEMO,
        "--state",
        state,
        "--json",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )


async def ended(process: Process) -> tuple[int | None, Any, str]:
    """Its exit code, the tally if it gave one, and what it told people."""
    out, err = await process.communicate()
    return process.returncode, json.loads(out) if out else None, err.decode()


async def until_said(process: Process, words: str) -> None:
    assert process.stderr is not None
    said = ""
    while words not in said:
        line = (await process.stderr.readline()).decode()
        assert line, f"it never said {words!r}, but:\n{said}"
        said += line


def left_over(state: Path) -> list[str]:
    """Programs that still run on this state directory."""
    return [
        " ".join(p.info["cmdline"] or [])
        for p in psutil.process_iter(["cmdline"])
        if str(state) in str(p.info)
    ]


async def test_a_cut_and_a_killed_box_lose_nothing_and_a_second_start_goes_on(tmp_path: Path) -> None:
    state = tmp_path / "desk"

    code, first, told = await ended(await start(state, "--for", "20", "--outage", "5:14", "--kill-box", "1"))

    assert code == 0, (first, told)
    assert first["ok"] is True
    assert first["accepted"] == first["in_cloud"] > 10
    assert first["events"] >= first["by_box"] > 0
    for fault in ("lost", "doubled", "altered", "out_of_order", "unexpected", "waiting"):
        assert first[fault] == 0
    asked = first["operations"]
    assert sum(count["refused"] for count in asked.values()) > 0
    assert asked["cut"]["passed"] == 0
    assert len(first["edges"]) == 1
    assert left_over(state) == []

    again = await start(state, "--for", "600", "--weather", "3")
    await until_said(again, "gusts so far")
    again.send_signal(signal.SIGINT)
    code, second, told = await ended(again)

    assert code == 0, (second, told)
    assert second["accepted"] > first["accepted"]
    assert second["events"] > first["events"]
    assert left_over(state) == []


async def test_over_tls_with_paired_tills_a_cut_and_a_killed_box_lose_nothing_either(tmp_path: Path) -> None:
    state = tmp_path / "desk"

    code, tally, told = await ended(
        await start(state, "--tls", "--for", "20", "--outage", "5:14", "--kill-box", "1")
    )

    assert code == 0, (tally, told)
    assert tally["accepted"] == tally["in_cloud"] > 10
    assert tally["by_box"] > 0
    assert len(tally["edges"]) == 1
    assert left_over(state) == []
    assert (state / "till-T1" / "pairing.json").exists()
    in_plain, _, why = await ended(await start(state, "--for", "5"))
    assert in_plain == 2
    assert "was made with TLS" in why

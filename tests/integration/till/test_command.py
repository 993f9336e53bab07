"""The command as other programs run it: lines on standard output, signals, exit codes."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from appliance.domain.catalogue import Article
from appliance.domain.sale import parse_sale
from tests.fakes.tasks import until
from tests.fakes.till_box import FakeBox
from tests.fakes.till_cloud import FakeCloud
from tests.fakes.till_peers import TOKEN
from till.copy import read_copies
from till.report import Line

pytestmark = pytest.mark.slow

ITEM = {"article_id": "socks-42", "unit_price_minor": 1_299, "vat_rate_bp": 2_000}


@asynccontextmanager
async def command(*words: str, **pipes: Any) -> AsyncIterator[Process]:
    """The command with these arguments; killed when the block ends before it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "till.cli", *words, stdout=PIPE, **({"stdin": DEVNULL, "stderr": PIPE} | pipes)
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def running(state: Path, box: FakeBox, script: str, *more: str) -> list[str]:
    who = ["--state", str(state), "--till", "till-1", "--token", TOKEN, "--box", box.url, "--lang", "en"]
    return ["run", *who, "--script", script, *more]


def write_script(path: Path, steps: Iterable[object]) -> str:
    path.write_text("\n".join(json.dumps(step) for step in steps))
    return str(path)


async def told(process: Process) -> AsyncIterator[dict[str, Any]]:
    assert process.stdout is not None
    async for line in process.stdout:
        yield json.loads(line)


async def wait_for(process: Process, event: str) -> dict[str, Any]:
    async for line in told(process):
        if line["event"] == event:
            return line
    raise AssertionError(f"the till ended without telling {event}")


async def test_a_script_is_sold_and_the_till_ends_when_all_is_in_the_cloud(tmp_path: Path) -> None:
    box = FakeBox()
    steps = [
        *({"basket": {"lines": [ITEM]}} for _ in range(5)),
        {"after_s": 0.05, "operation": "transfer", "data": {}},
    ]
    script = write_script(tmp_path / "script", steps)
    async with box.serving(), command(*running(tmp_path / "state", box, script, "--report")) as process:
        await until(lambda: len(box.acks) == 5 and box.operations)
        assert process.returncode is None, "it waits for the cloud"
        box.sync()
        lines = [line async for line in told(process)]
        assert process.stderr is not None
        words = (await process.stderr.read()).decode()

        assert await process.wait() == 0
    events = [line["event"] for line in lines]
    assert events[0] == "started"
    assert events.count("sold") == 5
    assert events.count("synced") == 5
    assert events.count("passed") == 1
    assert lines[-1] | {"event": "done", "tickets": 5, "by_box": 5, "copies": {"synced": 5}} == lines[-1]
    assert "5 tickets" in words


def test_the_events_that_other_programs_wait_for_keep_their_names() -> None:
    kinds = {kind.__struct_config__.tag for kind in Line.__subclasses__()}

    assert kinds >= {
        "discovered",
        "sold",
        "mode",
        "proposal",
        "refused",
        "passed",
        "synced",
        "conflict",
        "done",
    }


def posted(box: FakeBox, count: int) -> bool:
    return len(box.posted) >= count


async def test_a_till_that_is_killed_loses_and_doubles_nothing(tmp_path: Path) -> None:
    box = FakeBox()
    script = write_script(tmp_path / "script", ({"basket": {"lines": [ITEM]}} for _ in range(200)))
    async with box.serving():
        for kills_after in (3, 60):
            async with command(*running(tmp_path / "state", box, script)) as process:
                await until(partial(posted, box, kills_after))
                process.kill()
                await process.wait()
        kept = await asyncio.to_thread(read_copies, tmp_path / "state" / "copies.db", None)
        last = write_script(tmp_path / "last", [{"basket": {"lines": [ITEM]}}])
        async with command(*running(tmp_path / "state", box, last)) as process:
            await until(lambda: len(box.acks) == len(kept) + 1)
            box.sync()
            assert (await wait_for(process, "done"))["copies"] == {"synced": len(kept) + 1}

    numbers = sorted(sale.ticket_number for sale in box.sales.values())
    assert numbers == list(range(1, len(kept) + 2))
    bodies = {copy.sale_id: copy.body for copy in kept}
    assert all(bodies[sale.sale_id] == sale.encode() for sale in box.sales.values() if sale.sale_id in bodies)


async def test_on_sigterm_it_ends_after_the_ticket_in_hand_and_says_so(tmp_path: Path) -> None:
    box = FakeBox()
    script = write_script(
        tmp_path / "script", [{"basket": {"lines": [ITEM]}}, {"after_s": 3_600, "operation": "deposit"}]
    )
    async with box.serving(), command(*running(tmp_path / "state", box, script)) as process:
        await wait_for(process, "sold")
        process.send_signal(signal.SIGTERM)
        done = await wait_for(process, "done")

        assert await process.wait() == 0, "what is on the box's disk is safe"
    assert (done["tickets"], done["copies"]) == (1, {"accepted": 1})


async def test_a_live_script_is_sold_as_it_comes(tmp_path: Path) -> None:
    box = FakeBox()
    async with box.serving(), command(*running(tmp_path / "state", box, "-"), stdin=PIPE) as process:
        assert process.stdin is not None
        for number in (1, 2):
            process.stdin.write(json.dumps({"basket": {"lines": [ITEM]}}).encode() + b"\n")
            assert (await wait_for(process, "sold"))["ticket_number"] == number
        process.stdin.write(b"what?\n")
        assert (await wait_for(process, "unreadable"))["line"] == 3
        process.stdin.close()
        box.sync()
        assert (await wait_for(process, "done"))["lines_unreadable"] == 1

        assert await process.wait() == 1


async def test_unsent_tickets_are_exit_code_1_and_can_be_listed(tmp_path: Path) -> None:
    box = FakeBox()
    async with box.serving():
        pass
    script = write_script(tmp_path / "script", [{"basket": {"lines": [ITEM]}}])
    async with command(*running(tmp_path / "state", box, script)) as process:
        assert (await wait_for(process, "sold"))["status"] == "pending"
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 1
    async with command("copies", "--state", str(tmp_path / "state"), "--state-filter", "pending") as process:
        (copy,) = [line async for line in told(process)]
        assert await process.wait() == 1

    assert copy["state"] == "pending"
    assert parse_sale(json.dumps(copy["body"]).encode()).total_minor == 1_299


async def test_one_ticket_can_be_sold_by_hand(tmp_path: Path) -> None:
    box, cloud = FakeBox(), FakeCloud("mine")
    box.articles[1] = [Article("milk", "Lait", 129, "EUR", 550, gtins=["3017620422003"])]
    who = ["--state", str(tmp_path), "--till", "till-1", "--token", TOKEN]
    async with box.serving(), cloud.serving():
        ways = ["--box", box.url, "--cloud", cloud.url, "--cloud-token", "mine"]
        async with command("sell", *who, *ways, "milkx2", "3017620422003") as process:
            sold = await wait_for(process, "sold")
            assert await process.wait() == 0
        async with command("status", *who, *ways) as process:
            (status,) = [line async for line in told(process)]
            assert await process.wait() == 0

    assert (sold["total_minor"], sold["way"]) == (3 * 129, "cloud")
    assert (status["box"]["box"], status["copies"], status["pinned"]) == (box.id, {"synced": 1}, box.id)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["run"],
        ["run", "--state", "s", "--till", "t", "--script", "x"],
        ["run", "--state", "s", "--till", "t", "--token", "t", "--script", "missing"],
        ["sell", "--state", "s", "--till", "t", "--token", "t", "milkx1.2.3"],
        ["copies", "--state", "missing"],
        ["discover", "--interface", "192.0.2.1"],
    ],
)
async def test_misuse_is_exit_code_2_with_a_reason(tmp_path: Path, words: list[str]) -> None:
    async with command(*words, cwd=tmp_path, env={"PYTHONPATH": str(Path.cwd())}) as process:
        assert process.stderr is not None
        reason = await process.stderr.read()

        assert await process.wait() == 2
    assert b"storebox-till" in reason
    assert b"Traceback" not in reason


async def test_two_tills_on_one_state_directory_are_misuse(tmp_path: Path) -> None:
    box = FakeBox()
    script = write_script(tmp_path / "script", [{"after_s": 3_600, "operation": "deposit"}])
    async with box.serving(), command(*running(tmp_path / "state", box, script)) as first:
        await wait_for(first, "started")
        async with command(*running(tmp_path / "state", box, script)) as second:
            assert await second.wait() == 2

"""The installed command on a journal that was put back, and on one that was damaged."""

import asyncio
import json
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from tests.e2e.test_box_process import Box, enrolled, paired, running, sell, storebox
from tests.fakes.sales import a_sale_json
from tests.integration.till.test_command import ITEM, command, wait_for, write_script


async def issues_of(config: Path) -> tuple[int, list[str]]:
    code, out, _ = await storebox("status", "--config", config, "--json")
    return code, json.loads(out)["issues"]


async def test_a_journal_put_back_is_named_and_a_new_epoch_mends_it(tmp_path: Path) -> None:
    async with enrolled(tmp_path) as (config, _):
        pass  # head office is gone from here on
    token, state = await paired(config), tmp_path / "box"
    async with aiohttp.ClientSession() as session:
        async with running(config) as box:
            assert (await sell(session, box, token, a_sale_json()))[0] == 201
            assert await box.end(signal.SIGTERM) == 0
        await asyncio.to_thread(shutil.copy, state / "journal.db", tmp_path / "backup")
        async with running(config) as box:
            assert (await sell(session, box, token, a_sale_json(ticket_number=2)))[0] == 201
            assert await box.end(signal.SIGTERM) == 0
        await asyncio.to_thread(shutil.copy, tmp_path / "backup", state / "journal.db")

        async with running(config) as box:
            assert await issues_of(config) == (1, ["rolled-back", "drain-stopped-rolled-back"])
            assert (await sell(session, box, token, a_sale_json(ticket_number=3)))[0] == 201
            code, _, err = await storebox("epoch", "new", "--config", config, "--reason", "a test")
            assert code == 2
            assert "another process" in err
            assert await box.end(signal.SIGTERM) == 0

        assert (await storebox("epoch", "new", "--config", config, "--reason", " "))[0] == 2
        code, out, _ = await storebox("epoch", "new", "--config", config, "--reason", "a backup was put back")
        assert code == 0
        assert out.startswith("epoch 2 is open; epoch 1 ends here at seq ")

        async with running(config) as box:
            assert await issues_of(config) == (0, [])
            status, ack = await sell(session, box, token, a_sale_json(ticket_number=4))
            assert (status, ack["epoch"]) == (201, 2)
            assert await box.end(signal.SIGTERM) == 0
    assert (await storebox("verify", "--config", config))[0] == 0


async def test_a_damaged_journal_goes_aside_and_the_box_sells(tmp_path: Path) -> None:
    async with enrolled(tmp_path) as (config, _):
        pass
    token, state = await paired(config), tmp_path / "box"
    async with aiohttp.ClientSession() as session:
        async with running(config) as box:
            assert (await sell(session, box, token, a_sale_json()))[0] == 201
            assert await box.end(signal.SIGTERM) == 0
        content = await asyncio.to_thread((state / "journal.db").read_bytes)
        await asyncio.to_thread((state / "journal.db").write_bytes, content[:4096] + b"\xff" * len(content))

        async with running(config) as box:
            status, ack = await sell(session, box, token, a_sale_json(ticket_number=2))
            assert (status, ack["epoch"]) == (201, 2)
            assert await issues_of(config) == (1, ["journal-set-aside-1"])
            assert await box.end(signal.SIGTERM) == 0


@asynccontextmanager
async def a_till_that_sells(
    folder: Path, box: Box, token: str, tickets: int
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The till's own command, beside the box."""
    steps = [{"basket": {"lines": [ITEM]}} for _ in range(tickets)]
    script = await asyncio.to_thread(write_script, folder / "script", steps)
    who = ["--state", str(folder / "till"), "--till", "till-1", "--token", token, "--box", box.url]
    async with command("run", *who, "--script", script) as till:
        yield till


async def test_a_till_tells_a_box_that_its_whole_card_was_put_back(tmp_path: Path) -> None:
    async with enrolled(tmp_path) as (config, _):
        pass  # head office never sees anything
    token, state = await paired(config), tmp_path / "box"
    for tickets in (1, 2):
        if tickets == 2:
            await asyncio.to_thread(shutil.copytree, state, tmp_path / "backup")
        async with running(config) as box, a_till_that_sells(tmp_path, box, token, tickets) as till:
            for _ in range(tickets):
                assert (await wait_for(till, "sold"))["status"] == "accepted"
            assert await box.end(signal.SIGTERM) == 0
    await asyncio.to_thread(shutil.rmtree, state)
    await asyncio.to_thread(shutil.copytree, tmp_path / "backup", state)

    async with running(config) as box:
        assert await issues_of(config) == (0, [])
        async with a_till_that_sells(tmp_path, box, token, 1) as till:
            told = await wait_for(till, "rolled_back")
            assert told["epoch"] == 1
        assert await issues_of(config) == (1, ["rolled-back", "drain-stopped-rolled-back"])
        assert await box.end(signal.SIGTERM) == 0
    async with running(config) as box:
        assert await issues_of(config) == (1, ["rolled-back", "drain-stopped-rolled-back"])
        assert await box.end(signal.SIGTERM) == 0

    assert (await storebox("epoch", "new", "--config", config, "--reason", "a backup was put back"))[0] == 0
    async with running(config) as box:
        assert await issues_of(config) == (0, [])
        assert await box.end(signal.SIGTERM) == 0
    assert (await storebox("verify", "--config", config))[0] == 0

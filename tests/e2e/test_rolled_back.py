"""The installed command on a journal that was put back, and on one that was damaged."""

import asyncio
import json
import shutil
import signal
from pathlib import Path

import aiohttp

from tests.e2e.test_box_process import enrolled, paired, running, sell, storebox
from tests.fakes.sales import a_sale_json


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

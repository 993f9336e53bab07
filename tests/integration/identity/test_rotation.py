"""The event key is replaced: the chain tells of it, the box keeps its name, and no power cut leaves it between."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from appliance import cli
from appliance.gateways.identity import Identity
from appliance.runtime.clock import SystemClock
from appliance.runtime.keyfile import public_pem
from tests.e2e.security.test_interrupted_enrolment import prepare, warm_boxes
from tests.fakes.tasks import until
from tests.integration.identity.conftest import Chain, a_chain

CLOCK = SystemClock()


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        cli.main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


@pytest.mark.timeout(300)
async def test_a_rotation_that_is_cut_at_any_step_is_done_or_undone_at_the_next_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "box"
    async with a_chain(tmp_path / "cloud", CLOCK) as chain, warm_boxes() as boxes:
        await asyncio.to_thread(prepare, folder, await chain.claim())
        assert await boxes.come_up_and_stop(folder) == '{"status": 0}'
        before = await asyncio.to_thread(Identity, folder)
        rotations = 0
        for die_at in range(1, 200):
            await boxes.start(folder, die_at, "key rotate")
            finished = await boxes.until() == '{"status": 0}'

            assert await boxes.come_up_and_stop(folder) == '{"status": 0}'

            after = await asyncio.to_thread(Identity, folder)
            assert after.box == before.box
            assert len(after.rotations) in (rotations, rotations + 1)
            assert not (folder / "box-key.next.pem").exists()
            rotations = len(after.rotations)
            if finished:
                break
        assert rotations > 1

    key = tmp_path / "first.pem"
    await asyncio.to_thread(key.write_text, public_pem(before.signer.public_key))
    config, out = folder.with_suffix(".toml"), tmp_path / "export"
    assert await asyncio.to_thread(run, "verify", "--config", config, "--json") == 0
    assert json.loads(capsys.readouterr().out)["fault"] is None
    assert await asyncio.to_thread(run, "verify", folder) == 0
    assert await asyncio.to_thread(run, "verify", folder, "--key", key) == 0
    assert await asyncio.to_thread(run, "export", "--config", config, "--to", out) == 0
    assert await asyncio.to_thread(run, "verify", out, "--key", key) == 0
    assert await asyncio.to_thread(run, "verify", out) == 0


async def test_a_journal_lost_between_a_rotation_and_its_drain_shuts_no_box_out(tmp_path: Path) -> None:
    folder = tmp_path / "box"
    async with a_chain(tmp_path / "cloud", CLOCK) as chain, warm_boxes() as boxes:
        await asyncio.to_thread(prepare, folder, await chain.claim())
        assert await boxes.come_up_and_stop(folder) == '{"status": 0}'
        for _ in range(2):
            await boxes.start(folder, command="key rotate")
            assert await boxes.until() == '{"status": 0}'
        await asyncio.to_thread((folder / "journal.db").write_bytes, b"rotten" * 10_000)

        await boxes.start(folder)
        assert (await boxes.until("ready")).startswith("ready")
        await until(lambda: keys_known(chain) == 3, within_s=20)
        boxes.kill()
        await boxes.until()


def keys_known(chain: Chain) -> int:
    """How many event keys head office has of its boxes, once one has changed them."""
    with closing(sqlite3.connect(chain.settings.database)) as database:
        (count,) = database.execute("SELECT count(*) FROM box_key").fetchone()
    return int(count)

"""The real program, killed in the middle of its work: every receipt it ever gave still holds."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from appliance.domain.event import Sealed
from appliance.domain.statements import Receipt
from cloud.config import Settings
from tests.fakes.boxes import end_of
from tests.fakes.clock import FakeClock
from tests.fakes.sales import a_sale
from tests.integration.cloud.conftest import Enrolled, World, a_world

PROGRAM = "from cloud.cli import main; main()"
BATCH = 20


@asynccontextmanager
async def a_running_cloud(state: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """The daemon as a process of its own, and its address; killed at the latest when the block is left."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, "run", "--state", str(state), "--port", "0", "--tls", "off",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        word, address = (await process.stdout.readline()).decode().split()
        assert word == "ready"
        yield process, address
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def at(address: str, state: Path, session: aiohttp.ClientSession, box: Enrolled) -> Enrolled:
    """The same box, speaking to the cloud at another address."""
    world = World(Settings(state=state), FakeClock(), session, box.world.head_office)
    return Enrolled(world, box.box, box.answer, box.cloud)


@pytest.mark.slow
@pytest.mark.parametrize("receipts_before", [1, 4, 9])
async def test_a_receipt_outlives_kill_9_in_the_middle_of_ingest(
    tmp_path: Path, receipts_before: int
) -> None:
    async with a_world(tmp_path, FakeClock()) as world:
        boxes = [await world.enrolled(seed) for seed in (1, 2, 3)]
    chains = [box.box.chain([a_sale() for _ in range(BATCH * 8)]) for box in boxes]
    given: list[Receipt] = []

    async with a_running_cloud(tmp_path) as (process, address), aiohttp.ClientSession(address) as session:
        enough = asyncio.Event()

        async def drain(box: Enrolled, chain: list[Sealed]) -> None:
            for start in range(0, len(chain), BATCH):
                given.append(await box.receipt(box.box.pack(chain[start : start + BATCH])))
                if len(given) >= receipts_before:
                    enough.set()

        tasks = [
            asyncio.create_task(drain(at(address, tmp_path, session, box), chain))
            for box, chain in zip(boxes, chains, strict=True)
        ]
        await enough.wait()
        process.send_signal(signal.SIGKILL)
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert any(isinstance(end, aiohttp.ClientError) for end in ends), "nothing was under way at the kill"

    async with a_running_cloud(tmp_path) as (_, address), aiohttp.ClientSession(address) as session:
        for box, chain in zip(boxes, chains, strict=True):
            mine = at(address, tmp_path, session, box)
            stored = await mine.stored()
            assert stored == [one.body for one in chain[: len(stored)]], (
                "no more and no less than a whole prefix"
            )
            for receipt in (receipt for receipt in given if receipt.box == box.box.name):
                assert receipt.seq <= len(stored)
                assert receipt.head == chain[receipt.seq - 1].hash.hex()
            for start in range(0, len(chain), BATCH):
                await mine.receipt(box.box.pack(chain[start : start + BATCH]))
            assert (await mine.receipt(box.box.pack(chain[-1:]))).position == end_of(chain)
            assert await mine.stored() == [one.body for one in chain]
        everywhere = at(address, tmp_path, session, boxes[0]).world
        sales = (await everywhere.read("/v1/sales?limit=10000")).lines()
        assert len(sales) == sum(map(len, chains))
        assert {sale["copies"] for sale in sales} == {0}


@pytest.mark.slow
async def test_the_command_line_works_beside_the_running_daemon(tmp_path: Path) -> None:
    async with a_running_cloud(tmp_path) as (process, address), aiohttp.ClientSession(address) as session:
        world = World(Settings(state=tmp_path), FakeClock(), session, "")

        async def command(*arguments: str) -> str:
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-c", PROGRAM, *arguments, "--state", str(tmp_path),
                stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            output, _ = await child.communicate()
            assert child.returncode == 0
            return output.decode().strip()

        world.head_office = await command("admin-token")
        made = await command("catalogue", "make", "--articles", "30")
        till = await command("till-token", "--shop", "S042", "--till", "till-1")

        assert made == "catalogue 1: 30 articles, 30 changed, 0 deleted"
        assert (await world.ask("GET", "/v1/catalogue/snapshot", till)).status == 200
        assert (await world.read("/v1/fleet")).json() == []
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0

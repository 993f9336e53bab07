"""The daemon on a file system that is really full, and on one that turned read-only."""

import asyncio
import itertools
import json
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import require
from tests.e2e.test_box_process import DISK, enrolled, paired, running, sell, storebox
from tests.fakes.sales import a_sale_id, a_sale_json

SMALL_DISK = "ballast_mib = 4\nfloor_mib = 2\ndownload_floor_mib = 6"
# The till below asks as fast as it can until the disk is as it should be.
FREELY = "[limits]\nper_till_per_s = 65536\nper_till_burst = 65536\n"
WITHIN_S = 30.0


@contextmanager
def mounted(place: Path, *how: str) -> Iterator[Path]:
    place.mkdir()
    subprocess.run(["mount", *how, place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB where the box keeps its state."""
    require("mount", "umount", root=True)
    with mounted(tmp_path / "box", "-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs") as place:
        yield place


@pytest.fixture
def dying_card(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """An ext4 where the box keeps its state; the call makes it meet an error, and so turn read-only."""
    require("mount", "umount", "mkfs.ext4", "findmnt", root=True)
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(48 * 1024 * 1024)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    with mounted(tmp_path / "box", "-o", "loop,errors=remount-ro", str(image)) as place:
        device = subprocess.run(
            ["findmnt", "--noheadings", "--output", "SOURCE", place],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        trigger = Path("/sys/fs/ext4") / Path(device).name / "trigger_fs_error"
        if not os.access(trigger, os.W_OK):
            pytest.skip("this kernel offers no way to make an ext4 fail")

        def fail() -> None:
            trigger.write_text("1")

        yield fail


def fill(place: Path) -> Path:
    """Take all the room that is left."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1024 * 1024, 4096):
            while True:
                try:
                    file.write(os.urandom(size))
                except OSError:
                    break
    return filler


Answer = tuple[int, dict[str, Any]]


async def until_status(status: int, ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Ask until the answer has this status."""
    last: Answer | None = None
    try:
        async with asyncio.timeout(WITHIN_S):
            while last is None or last[0] != status:
                last = await ask()
    except TimeoutError:
        raise AssertionError(f"no {status} within {WITHIN_S} s; the last was {last}") from None
    return last


async def outcome(session: aiohttp.ClientSession, url: str, token: str, path: str) -> Answer:
    async with session.get(url + path, headers={"Authorization": f"Bearer {token}"}) as response:
        return response.status, await response.json(content_type=None)


async def test_a_full_disk_refuses_says_so_everywhere_and_recovers_by_itself(
    tmp_path: Path, small_disk: Path
) -> None:
    async with enrolled(tmp_path) as (config, _), aiohttp.ClientSession() as session:
        config.write_text(f"{config.read_text().replace(DISK, SMALL_DISK)}\n{FREELY}")
        token = await paired(config)
        tickets = itertools.count(1)
        acked: list[str] = []
        async with running(config) as box:

            async def sell_one() -> Answer:
                body = a_sale_json(sale_id=a_sale_id(), ticket_number=next(tickets))
                status, answer = await sell(session, box, token, body)
                if status == 201:
                    acked.append(answer["sale_id"])
                return status, answer

            first = a_sale_json(sale_id=a_sale_id(), ticket_number=next(tickets))
            assert (await sell(session, box, token, first))[0] == 201
            assert (small_disk / "ballast").stat().st_size == 4 * 1024 * 1024
            filler = fill(small_disk)

            _, refusal = await until_status(507, sell_one)
            assert refusal["code"] == "disk-full"
            _, problem = await until_status(507, lambda: outcome(session, box.url, token, "/readyz"))
            assert problem["code"] == "disk-full"
            _, status = await outcome(session, box.url, token, "/v1/status")
            assert "disk-full" in status["issues"]
            assert status["state"] == "read-only"
            assert (small_disk / "ballast").stat().st_size == 0
            # A sale that is known is no new one.
            assert (await sell(session, box, token, first))[0] == 200
            assert (await sell_one())[0] == 507

            filler.unlink()
            await until_status(201, sell_one)
            assert (small_disk / "ballast").stat().st_size == 4 * 1024 * 1024
            _, status = await outcome(session, box.url, token, "/v1/status")
            assert "disk-full" not in status["issues"]
            assert await box.end(signal.SIGTERM) == 0

        fill(small_disk)
        async with running(config) as box:  # it starts on a full disk, and says so
            assert (await sell_one())[0] == 507
            for sale_id in acked:
                assert (await outcome(session, box.url, token, f"/v1/sales/{sale_id}"))[0] == 200
            assert await box.end(signal.SIGTERM) == 0
    code, out, _ = await storebox("verify", "--config", config, "--json")
    assert code == 0, out
    assert json.loads(out)["sales"] == len(acked) + 1


async def test_a_card_that_turns_read_only_stops_sales_and_the_process_stays_to_say_so(
    tmp_path: Path, dying_card: Callable[[], None]
) -> None:
    async with enrolled(tmp_path) as (config, _), aiohttp.ClientSession() as session:
        config.write_text(f"{config.read_text().replace(DISK, SMALL_DISK)}\n{FREELY}")
        token = await paired(config)
        async with running(config) as box:
            first = a_sale_json()
            assert (await sell(session, box, token, first))[0] == 201
            dying_card()

            status, answer = await sell(session, box, token, a_sale_json(ticket_number=2))
            assert (status, answer["code"]) == (503, "storage-fault")
            ready, problem = await outcome(session, box.url, token, "/readyz")
            assert (ready, problem["code"]) == (503, "storage-fault")
            _, said = await outcome(session, box.url, token, "/v1/status")
            assert said["issues"] == ["storage-fault"]
            assert said["state"] == "read-only"
            assert box.process.returncode is None

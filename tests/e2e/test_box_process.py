"""The installed command `storebox`, as a technician and systemd meet it: real processes, real files, real signals."""

import asyncio
import itertools
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from appliance.storage.journal_tables import place_of
from tests.fakes.clock import FakeClock
from tests.fakes.journals import change_event
from tests.fakes.sales import a_sale_id, a_sale_json
from tests.integration.cloud.conftest import World, a_world

DISK = "ballast_mib = 1"
STOREBOX = (sys.executable, "-m", "appliance.cli")


async def storebox(*arguments: object) -> tuple[int, str, str]:
    """Run one command to its end."""
    process = await asyncio.create_subprocess_exec(
        *STOREBOX, *map(str, arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def write_config(folder: Path, **more: str) -> Path:
    tables = {
        "lan": 'host = "127.0.0.1"\nport = 0\ntls = "off"',
        "mdns": "enabled = false",
        "disk": DISK,
        **more,
    }
    text = f'state = "{folder / "box"}"\n' + "".join(f"[{name}]\n{body}\n" for name, body in tables.items())
    path = folder / "storebox.toml"
    path.write_text(text)
    return path


class Box:
    """A running daemon."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.process = process
        self.url = url

    async def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return await self.process.wait()


@asynccontextmanager
async def running(config: Path, **environment: str) -> AsyncIterator[Box]:
    """The daemon, ready; killed when the block is left, if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *STOREBOX,
        "run",
        "--config",
        str(config),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment or None,
    )
    try:
        assert process.stdout is not None
        ready = (await process.stdout.readline()).decode().split()
        assert ready[:1] == ["ready"], "the box did not become ready"
        yield Box(process, ready[1])
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def enrolled(folder: Path) -> AsyncIterator[tuple[Path, World]]:
    """The configuration of an enrolled box, and its head office."""
    async with a_world(folder / "cloud", FakeClock()) as office:
        config = write_config(folder)
        claim = await office.claim()
        code, out, err = await storebox("enrol", "--config", config, "--claim", claim)
        assert code == 0, err
        assert "is enrolled for shop S042" in out
        yield config, office


async def paired(config: Path, till: str = "till-1") -> str:
    code, out, _ = await storebox("pair", "--config", config, "--till", till)
    assert code == 0
    return out.strip()


async def sell(session: aiohttp.ClientSession, box: Box, token: str, body: bytes) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    async with session.post(box.url + "/v1/sales", data=body, headers=headers) as response:
        return response.status, await response.json(content_type=None)


async def test_every_acked_sale_survives_ten_kills_in_the_middle_of_selling(tmp_path: Path) -> None:
    async with enrolled(tmp_path) as (config, _), aiohttp.ClientSession() as session:
        token = await paired(config)
        acked: dict[str, tuple[int, str]] = {}
        tickets = itertools.count(1)
        for _ in range(10):
            async with running(config) as box:
                bodies = [a_sale_json(sale_id=a_sale_id(), ticket_number=next(tickets)) for _ in range(60)]
                selling = [asyncio.create_task(sell(session, box, token, body)) for body in bodies]
                await asyncio.wait(selling, return_when=asyncio.FIRST_COMPLETED)
                assert await box.end(signal.SIGKILL) == -signal.SIGKILL
            for outcome in await asyncio.gather(*selling, return_exceptions=True):
                if not isinstance(outcome, BaseException):
                    status, ack = outcome
                    assert status == 201
                    acked[ack["sale_id"]] = (ack["seq"], ack["hash"])

        async with running(config) as box:
            headers = {"Authorization": f"Bearer {token}"}
            for sale_id, (seq, hash_) in acked.items():
                async with session.get(f"{box.url}/v1/sales/{sale_id}", headers=headers) as response:
                    ack = (await response.json())["ack"]
                    assert (ack["seq"], ack["hash"]) == (seq, hash_)
            assert await box.end(signal.SIGTERM) == 0
        assert len(acked) >= 10

    code, out, _ = await storebox("verify", "--config", config, "--json")
    assert code == 0
    assert json.loads(out)["sales"] >= len(acked)


async def test_a_box_starts_and_sells_while_nobody_answers(tmp_path: Path) -> None:
    async with enrolled(tmp_path) as (config, _):
        pass  # head office is gone from here on

    token = await paired(config)
    async with running(config) as box, aiohttp.ClientSession() as session:
        status, ack = await sell(session, box, token, a_sale_json())
        assert status == 201
        again = await sell(session, box, token, a_sale_json(sale_id=ack["sale_id"], ticket_number=2))
        assert again[0] == 409
        assert await box.end(signal.SIGTERM) == 0


async def test_a_second_daemon_on_the_same_state_is_refused(tmp_path: Path) -> None:
    async with enrolled(tmp_path) as (config, _), running(config):
        code, _, err = await storebox("run", "--config", config)

    assert code == 2
    assert "another process is running on this state directory" in err


async def test_a_box_that_is_not_enrolled_says_who_it_is_until_it_is_stopped(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    process = await asyncio.create_subprocess_exec(
        *STOREBOX, "run", "--config", str(config), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None

    word, url, box, key = (await process.stdout.readline()).decode().split()

    code, out, _ = await storebox("identity", "--config", config, "--json")
    assert code == 0
    who = json.loads(out)
    assert (word, box, key) == ("unclaimed", who["box"], who["fp"])
    assert (who["state"], who["shop"]) == ("unclaimed", "")
    async with aiohttp.ClientSession() as session, session.get(url + "/v1/hello") as response:
        hello = await response.json()
        assert (hello["state"], hello["box"], hello["spki"]) == ("unclaimed", box, who["spki"])
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0


@pytest.mark.parametrize(
    ("table", "body", "says"),
    [
        ("lan", "prot = 8480", "unknown field `prot` - at `$.lan`"),
        ("lan", 'port = "high"', "`$.lan.port`"),
        ("drain", "batch_events = 0", "`$.drain.batch_events`"),
        ("colour", "red = 1", "unknown field `colour`"),
        ("lan", "port = ", "line "),
    ],
)
async def test_a_bad_configuration_stops_the_start_and_is_named(
    tmp_path: Path, table: str, body: str, says: str
) -> None:
    config = write_config(tmp_path, **{table: body})

    code, _, err = await storebox("run", "--config", config)

    assert code == 2
    assert str(config) in err
    assert says in err


async def test_a_used_claim_enrols_no_second_box(tmp_path: Path) -> None:
    async with a_world(tmp_path / "cloud", FakeClock()) as office:
        claim = await office.claim()
        for name, expected in (("one", 0), ("two", 1)):
            (tmp_path / name).mkdir()
            config = write_config(tmp_path / name)
            code, _, _ = await storebox("enrol", "--config", config, "--claim", claim)
            assert code == expected


async def test_status_check_and_verify_speak_to_people_and_programs(tmp_path: Path) -> None:
    async with enrolled(tmp_path) as (config, _):
        async with running(config) as box:
            code, out, _ = await storebox("status", "--config", config, "--json")
            assert code == 0
            assert json.loads(out)["shop"] == "S042"
            code, out, _ = await storebox("status", "--config", config)
            assert "shop S042" in out
            assert await box.end(signal.SIGTERM) == 0

        assert (await storebox("status", "--config", config))[0] == 1
        assert (await storebox("check", "--config", config))[0] == 0
        code, out, _ = await storebox("verify", "--config", config, "--json")
        assert code == 0
        assert json.loads(out)["fault"] is None
        assert json.loads(out)["events"] >= 3  # opened, started, stopped


async def test_verify_exits_with_one_and_names_the_fault(tmp_path: Path) -> None:
    async with enrolled(tmp_path) as (config, _):
        async with running(config) as box:
            await box.end(signal.SIGTERM)
        journal = tmp_path / "box" / "journal.db"
        await asyncio.to_thread(change_event, journal, place_of(1, 2), b'"software"', b'"softwarf"')

        code, out, _ = await storebox("verify", "--config", config)

        assert code == 1
        assert "FAULT at 1/2" in out


async def test_systemd_hears_that_it_is_ready_that_it_lives_and_that_it_stops(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.setblocking(False)
        async with enrolled(tmp_path) as (config, _):
            loop = asyncio.get_running_loop()
            async with running(config, NOTIFY_SOCKET=str(tmp_path / "notify"), PATH="/usr/bin") as box:
                told = [await loop.sock_recv(channel, 100)]
                # The watch of the disk is a loop of its own: its first look may end before or after the LAN is open.
                while not {b"READY=1", b"WATCHDOG=1"} <= set(told):
                    told.append(await loop.sock_recv(channel, 100))
                assert told[0] == b"EXTEND_TIMEOUT_USEC=60000000"
                assert told.count(b"READY=1") == 1
                await box.end(signal.SIGTERM)
                while (last := await loop.sock_recv(channel, 100)) == b"WATCHDOG=1":
                    pass
                assert last == b"STOPPING=1"

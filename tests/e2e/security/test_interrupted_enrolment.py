"""A hundred boxes lose power while they enrol: each ends enrolled at its next start, and head office has it once."""

import asyncio
import json
import os
import random
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from appliance.gateways.identity import Identity
from appliance.runtime.clock import SystemClock
from tests.integration.identity.conftest import Chain, a_chain

RUNS = 100
CUTS = 30
CLOCK = SystemClock()


class Boxes:
    """Forks of one warm process: see tests/fakes/dying_box.py."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = 0

    async def start(self, folder: Path, die_at: int = 0, command: str = "run") -> None:
        arguments = [*command.split(), "--config", str(folder.with_suffix(".toml"))]
        order = {"folder": str(folder), "die_at": die_at, "arguments": arguments}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        while self.pid == 0:
            await self.line()

    async def line(self) -> str:
        """The next word of the box: `unclaimed`, `ready` or how it ended."""
        assert self._process.stdout is not None
        text = (await self._process.stdout.readline()).decode().strip()
        assert text, "the boxes are gone"
        if text.startswith('{"pid"'):
            self.pid = json.loads(text)["pid"]
        if text.startswith('{"status"'):
            self.pid = 0
        return text

    async def until(self, *words: str) -> str:
        while not (text := await self.line()).startswith((*words, '{"status"')):
            pass
        return text

    def kill(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)

    async def come_up_and_stop(self, folder: Path) -> str:
        """Start it again, with nobody's help, and stop it once tills can sell."""
        await self.start(folder)
        said = await self.until("ready")
        assert said.startswith("ready"), said
        os.kill(self.pid, signal.SIGTERM)
        return await self.until()


@asynccontextmanager
async def warm_boxes() -> AsyncIterator[Boxes]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.fakes.dying_box",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield Boxes(process)
    finally:
        process.kill()
        await process.wait()


def prepare(folder: Path, claim: str, url: str = "") -> None:
    """An image that was just flashed: a configuration, and a claim beside it."""
    folder.with_suffix(".claim").write_text(claim)
    folder.with_suffix(".toml").write_text(
        f'state = "{folder}"\n[lan]\nhost = "127.0.0.1"\nport = 0\n[mdns]\nenabled = false\n'
        f'[disk]\nballast_mib = 1\n[claim]\nfile = "{folder.with_suffix(".claim")}"\n[cloud]\nurl = "{url}"\n'
    )


def enrolled_boxes(chain: Chain) -> list[str]:
    with closing(sqlite3.connect(chain.settings.database)) as database:
        return [name for (name,) in database.execute("SELECT box FROM box")]


def stage_of(folder: Path) -> str:
    """What a power cut left, as the next start will read it."""
    if not (folder / "enrolment.json").exists():
        return "unclaimed"
    Identity(folder).enrolment()
    return "enrolled"


@pytest.mark.campaign
@pytest.mark.timeout(600)
async def test_a_hundred_interrupted_enrolments_end_enrolled(tmp_path: Path) -> None:
    rng = random.Random(7)
    async with a_chain(tmp_path / "cloud", CLOCK) as chain, warm_boxes() as boxes:
        clean = tmp_path / "clean"
        await asyncio.to_thread(prepare, clean, await chain.claim())
        await boxes.start(clean)
        assert (await boxes.until("ready")).startswith("ready")
        steps = int(await asyncio.to_thread(clean.with_suffix(".steps").read_text))
        boxes.kill()
        await boxes.until()
        # Every step once, from the first file to the open box; then some again, until it is a hundred.
        dies = [*range(1, steps + 1), *(rng.randint(1, steps) for _ in range(RUNS))][: max(RUNS, steps)]
        left: dict[str, int] = {"unclaimed": 0, "enrolled": 0}
        names = set()
        for number, die_at in enumerate(dies):
            folder = tmp_path / f"box-{number}"
            await asyncio.to_thread(prepare, folder, await chain.claim())

            await boxes.start(folder, die_at)
            if (await boxes.until("ready")).startswith("ready"):
                boxes.kill()
                await boxes.until()
            left[await asyncio.to_thread(stage_of, folder)] += 1

            assert await boxes.come_up_and_stop(folder) == '{"status": 0}'
            assert await asyncio.to_thread(stage_of, folder) == "enrolled"
            assert not folder.with_suffix(".claim").exists()
            assert not (folder / "enrolment.pending").exists()
            names.add((await asyncio.to_thread(Identity, folder)).box)

        assert len(names) == len(dies) >= RUNS
        assert left["unclaimed"] > 0
        assert left["enrolled"] > 0
        known = await asyncio.to_thread(enrolled_boxes, chain)
        assert len(known) == len(set(known))
        assert names < set(known)


class Cutter:
    """A wire to head office that ends after so many bytes in one direction, and tells."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.left: dict[str, int] = {}
        self.cut = asyncio.Event()

    @asynccontextmanager
    async def wire(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        async with server:
            yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            await asyncio.gather(self._pump("up", reader, back), self._pump("down", there, writer))
        except OSError:
            pass
        finally:
            writer.close()
            back.close()

    async def _pump(self, way: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            if way in self.left:
                self.left[way] -= len(data)
                if self.left[way] <= 0:
                    self.cut.set()
                    raise ConnectionResetError
            writer.write(data)
            await writer.drain()
        writer.close()


@pytest.mark.campaign
@pytest.mark.timeout(300)
async def test_power_that_goes_with_the_line_leaves_nothing_between(tmp_path: Path) -> None:
    rng = random.Random(11)
    async with a_chain(tmp_path / "cloud", CLOCK) as chain, warm_boxes() as boxes:
        cutter = Cutter(int(chain.url.rpartition(":")[2]))
        async with cutter.wire() as url:
            for number in range(CUTS):
                folder = tmp_path / f"box-{number}"
                await asyncio.to_thread(prepare, folder, await chain.claim(), url)
                way = rng.choice(["up", "down"])
                # Two connections: the authority, then the enrolment (about 4 KB there and 10 KB back in all).
                cutter.left = {way: rng.randint(1, 4_500 if way == "up" else 11_000)}
                cutter.cut.clear()

                await boxes.start(folder)
                ready = asyncio.create_task(boxes.until("ready"))
                cut = asyncio.create_task(cutter.cut.wait())
                await asyncio.wait((ready, cut), return_when=asyncio.FIRST_COMPLETED)
                cut.cancel()
                boxes.kill()
                await ready
                if boxes.pid:
                    await boxes.until()

                cutter.left = {}
                assert await asyncio.to_thread(stage_of, folder) in ("unclaimed", "enrolled")
                assert await boxes.come_up_and_stop(folder) == '{"status": 0}'

        known = await asyncio.to_thread(enrolled_boxes, chain)
        assert len(known) == CUTS

"""The whole box on a real port, built by its own wiring, enrolled at a real head office."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from appliance.config import Config, Disk, Lan, Mdns
from appliance.domain.wire import Status
from appliance.gateways.est import enrol
from appliance.gateways.identity import Identity
from appliance.gateways.tills import TillBook
from appliance.wiring import files_in, open_box
from tests.fakes.clock import FakeClock
from tests.integration.cloud.conftest import World, a_world

CLOUD_FOLDER, BOX_FOLDER = "cloud", "box"
MOMENT_S, MOMENTS_MAX = 0.5, 1_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Any
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def problem(self) -> str:
        """The stable code; fails when the answer is no problem+json."""
        assert self.headers["Content-Type"] == "application/problem+json", self.body
        assert self.json()["status"] == self.status
        code: str = self.json()["code"]
        return code


@dataclass
class Shop:
    """A box that serves, its clock, and the head office behind it."""

    url: str
    config: Config
    clock: FakeClock
    office: World
    session: aiohttp.ClientSession
    token: str

    async def ask(self, method: str, path: str, *, token: str | None = None, **options: Any) -> Answer:
        token = self.token if token is None else token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= options.pop("headers", {})
        async with self.session.request(method, self.url + path, headers=headers, **options) as response:
            return Answer(response.status, response.headers, await response.read())

    async def sell(self, body: bytes, **options: Any) -> Answer:
        headers = {"Content-Type": "application/json"} | options.pop("headers", {})
        return await self.ask("POST", "/v1/sales", data=body, headers=headers, **options)

    async def come_online(self) -> None:
        """Let time pass until the box has proven its line."""
        await self._pass_until(lambda status: status.state == "online")

    async def drained(self) -> None:
        """Let time pass until head office holds everything."""
        await self._pass_until(lambda status: status.journal.backlog == 0)

    async def _pass_until(self, reached: Callable[[Status], bool]) -> None:
        # Each question goes over the network, as the box's own requests do: they get their turn in between.
        said = b""
        for _ in range(MOMENTS_MAX):
            said = (await self.ask("GET", "/v1/status")).body
            if reached(msgspec.json.decode(said, type=Status)):
                return
            await self.clock.advance(MOMENT_S)
        raise AssertionError(f"not reached within {MOMENTS_MAX * MOMENT_S} s; the last status: {said!r}")


def prepare(config: Config) -> tuple[Identity, str]:
    """A box's state directory with its key, and a token for a till."""
    config.state.mkdir(exist_ok=True)
    return Identity(config.state), TillBook(files_in(config).tills).pair("till-1")


@asynccontextmanager
async def a_shop(folder: Path) -> AsyncIterator[Shop]:
    clock = FakeClock()
    async with a_world(folder / CLOUD_FOLDER, clock) as office, aiohttp.ClientSession() as session:
        config = Config(
            state=folder / BOX_FOLDER,
            lan=Lan("127.0.0.1", 0, tls="off"),
            mdns=Mdns(enabled=False),
            disk=Disk(ballast_mib=1),
        )
        identity, token = await asyncio.to_thread(prepare, config)
        cloud_url = str(office.session._base_url)
        answer = await enrol(cloud_url, identity.enrolment_request(await office.claim_secret()))
        await asyncio.to_thread(identity.keep_enrolment, cloud_url, answer)
        async with open_box(config, clock, random.Random(1)) as url:
            yield Shop(url, config, clock, office, session, token)


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """A shop at opening time."""
    async with a_shop(tmp_path) as shop:
        yield shop

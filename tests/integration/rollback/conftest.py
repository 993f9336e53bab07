"""A shop whose box can be stopped, put back to an earlier state of its card, and started again."""

import asyncio
import random
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec
import pytest

from appliance.config import Cloud, Config, Disk, Lan, Mdns
from appliance.domain.wire import CloudSaleRow, Status
from appliance.gateways.est import enrol
from appliance.wiring import files_in, open_box
from tests.fakes.clock import FakeClock
from tests.fakes.tills import Told, a_till
from tests.integration.api.conftest import Shop, prepare
from tests.integration.cloud.conftest import World, a_world
from till.wiring import OpenTill

NOBODY = "http://127.0.0.1:9"


@dataclass
class Card:
    """A box's state directory, whoever runs on it, the till in front and the head office behind it."""

    folder: Path
    config: Config
    clock: FakeClock
    office: World
    session: aiohttp.ClientSession
    token: str
    starts: int = 0

    @asynccontextmanager
    async def running(self, *, line: bool = True) -> AsyncIterator[Shop]:
        """The box, serving; without a line when told so."""
        cloud = Cloud() if line else Cloud(NOBODY)
        config = msgspec.structs.replace(self.config, cloud=cloud)
        async with open_box(config, self.clock, random.Random(1)) as url:
            yield Shop(url, config, self.clock, self.office, self.session, self.token)

    @asynccontextmanager
    async def trading(self, *, line: bool = True) -> AsyncIterator[tuple[Shop, OpenTill, Told]]:
        """The box and its one till, which has asked the box for all that it accepted before."""
        told = Told()
        self.starts += 1  # the till makes ids of its own each time
        async with (
            self.running(line=line) as shop,
            a_till(
                self.folder / "till",
                told,
                self.clock,
                box=shop.url,
                box_token=self.token,
                seed=self.starts,
            ) as till,
        ):
            yield shop, till, told

    async def snapshot(self) -> Path:
        """A copy of the whole card."""
        copy = self.folder / "snapshot"
        await asyncio.to_thread(shutil.copytree, self.config.state, copy)
        return copy

    async def restore(self, copy: Path, *, but: str = "") -> None:
        """Put the card back to an earlier state; a file named `but` stays as it is."""
        kept = self.config.state / but
        if but:
            await asyncio.to_thread(shutil.copy, kept, copy / but)
        await asyncio.to_thread(shutil.rmtree, self.config.state)
        await asyncio.to_thread(shutil.copytree, copy, self.config.state)

    async def booked(self) -> list[CloudSaleRow]:
        """The sales as head office holds them."""
        answer = await self.office.read("/v1/sales?limit=10000")
        return [msgspec.json.decode(line, type=CloudSaleRow) for line in answer.body.splitlines()]


async def status_of(shop: Shop) -> Status:
    return msgspec.json.decode((await shop.ask("GET", "/v1/status")).body, type=Status)


@asynccontextmanager
async def a_card(folder: Path) -> AsyncIterator[Card]:
    clock = FakeClock()
    async with a_world(folder / "cloud", clock) as office, aiohttp.ClientSession() as session:
        config = Config(
            state=folder / "box",
            lan=Lan("127.0.0.1", 0, tls="off"),
            mdns=Mdns(enabled=False),
            disk=Disk(ballast_mib=1),
        )
        identity, token = await asyncio.to_thread(prepare, config)
        cloud_url = str(office.session._base_url)
        answer = await enrol(cloud_url, identity.enrolment_request(await office.claim_secret()))
        await asyncio.to_thread(identity.keep_enrolment, cloud_url, answer)
        assert files_in(config).head.name == "head"
        yield Card(folder, config, clock, office, session, token)


@pytest.fixture
async def card(tmp_path: Path) -> AsyncIterator[Card]:
    """An enrolled box that has never run, and its shop."""
    async with a_card(tmp_path) as card:
        yield card

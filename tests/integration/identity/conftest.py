"""The chain's real head office, over TLS, and boxes that join it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from appliance.config import Claim, Config, Disk, Lan, Mdns
from appliance.config import Cloud as CloudConfig
from appliance.runtime.clock import Clock
from cloud.config import Settings
from cloud.wiring import open_daemon, open_office
from tests.fakes.clock import FakeClock


class Chain:
    """Head office, as long as it runs."""

    def __init__(self, settings: Settings, clock: Clock, port: int) -> None:
        self.settings = settings
        self.clock = clock
        self.url = f"https://127.0.0.1:{port}"

    async def claim(self, *, key_hash: str = "", shop: str = "S042") -> str:
        async with open_office(self.settings, self.clock) as office:
            made = await office.enrolment.new_claim(shop, "Nantes", 10, key_hash=key_hash, by="head-office")
            return made.claim


@asynccontextmanager
async def a_chain(folder: Path, clock: Clock) -> AsyncIterator[Chain]:
    settings = Settings(state=folder, host="127.0.0.1", port=0)
    async with open_daemon(settings, clock) as port:
        yield Chain(settings, clock, port)


def a_config(state: Path, *, url: str = "", claim_file: Path | None = None, authority: str = "") -> Config:
    return Config(
        state=state,
        lan=Lan(host="127.0.0.1", port=0),
        mdns=Mdns(enabled=False),
        disk=Disk(ballast_mib=1),
        cloud=CloudConfig(url=url),
        claim=Claim(file=str(claim_file or ""), authority=authority),
    )


@pytest.fixture
async def chain(tmp_path: Path) -> AsyncIterator[Chain]:
    async with a_chain(tmp_path / "cloud", FakeClock()) as found:
        yield found

"""An unclaimed box on its LAN: who it is, and a way in for one claim of the right head office."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from appliance.config import Config
from appliance.domain.enrolling import claim_text
from appliance.runtime.tls import pinned_context
from appliance.setup import Setup, open_setup
from tests.fakes.clock import FakeClock
from tests.integration.identity.conftest import Chain, a_config

OTHER_PIN = "A" * 43


class Caller:
    """Somebody on the LAN who pins the box's key."""

    def __init__(self, setup: Setup, session: aiohttp.ClientSession) -> None:
        self.setup = setup
        self._session = session
        self._context = pinned_context(setup.identity.spki)

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        url = self.setup.url + path
        async with self._session.request(method, url, ssl=self._context, **more) as response:
            return response.status, await response.json(content_type=None)

    async def claim(self, text: str) -> tuple[int, Any]:
        return await self.ask("POST", "/v1/claim", json={"claim": text})


@asynccontextmanager
async def unclaimed(config: Config, clock: FakeClock | None = None) -> AsyncIterator[Caller]:
    await asyncio.to_thread(config.state.mkdir)
    async with (
        open_setup(config, clock or FakeClock(), random.Random(1)) as setup,
        aiohttp.ClientSession() as session,
    ):
        yield Caller(setup, session)


async def test_an_unclaimed_box_tells_who_it_is_and_serves_nothing_else(tmp_path: Path) -> None:
    async with unclaimed(a_config(tmp_path / "box")) as box:
        status, hello = await box.ask("GET", "/v1/hello")

        assert status == 200
        assert (hello["state"], hello["shop"], hello["tls"]) == ("unclaimed", "", True)
        assert (hello["box"], hello["spki"]) == (box.setup.identity.box, box.setup.identity.spki)
        assert await box.ask("GET", "/v1/claim") == (200, {"state": "none", "detail": ""})
        assert (await box.ask("GET", "/livez"))[0] == 200
        assert (await box.ask("GET", "/readyz"))[1]["code"] == "not-ready"
        assert (await box.ask("GET", "/v1/status"))[0] == 404
        assert (await box.ask("GET", "/metrics"))[0] == 404


async def test_a_claim_over_the_lan_enrols_the_box(tmp_path: Path, chain: Chain) -> None:
    async with unclaimed(a_config(tmp_path / "box")) as box:
        key_hash = box.setup.identity.signer.key_id

        assert await box.claim(await chain.claim(key_hash=key_hash)) == (202, {})
        await box.setup.enrolled

        assert (await box.ask("GET", "/v1/claim"))[1]["state"] == "enrolled"
        enrolment = await asyncio.to_thread(box.setup.identity.enrolment)
        assert enrolment.answer.shop == "S042"
        assert enrolment.answer.box_token == ""


async def test_a_claim_that_head_office_refuses_leaves_the_box_unclaimed(
    tmp_path: Path, chain: Chain
) -> None:
    clock = FakeClock()
    async with unclaimed(a_config(tmp_path / "box"), clock) as box:
        assert (await box.claim(await chain.claim(key_hash=OTHER_PIN)))[0] == 202
        while (said := (await box.ask("GET", "/v1/claim"))[1])["state"] != "refused":
            await clock.settle()
        assert "another" in said["detail"]
        assert await asyncio.to_thread(box.setup.identity.state) == "unclaimed"

        assert (await box.claim(await chain.claim()))[0] == 202
        await box.setup.enrolled


@pytest.mark.parametrize("text", ["", "sbc1.", "sbc1.AAAA", "a claim", "sbc1." + "A" * 2_000])
async def test_what_is_no_claim_is_refused(tmp_path: Path, text: str) -> None:
    async with unclaimed(a_config(tmp_path / "box")) as box:
        status, problem = await box.claim(text)

        assert (status, problem["code"]) == (400, "malformed")
        assert await asyncio.to_thread(box.setup.identity.state) == "unclaimed"


async def test_a_box_of_one_chain_takes_no_claim_of_another(tmp_path: Path) -> None:
    async with unclaimed(a_config(tmp_path / "box", authority="B" * 43)) as box:
        status, problem = await box.claim(claim_text("https://127.0.0.1:1", OTHER_PIN, "s" * 32, "S1"))

        assert (status, problem["code"]) == (403, "claim-refused")
        assert (await box.ask("GET", "/v1/claim"))[1]["state"] == "none"


async def test_a_page_in_a_browser_claims_nothing(tmp_path: Path, chain: Chain) -> None:
    async with unclaimed(a_config(tmp_path / "box")) as box:
        status, problem = await box.ask(
            "POST",
            "/v1/claim",
            json={"claim": await chain.claim()},
            headers={"Origin": "https://evil.example"},
        )

        assert (status, problem["code"]) == (403, "browser-refused")


async def test_a_fake_head_office_hears_nothing_of_the_claim(tmp_path: Path, chain: Chain) -> None:
    """It answers at the address, over TLS, with an authority of its own."""
    clock = FakeClock()
    async with unclaimed(a_config(tmp_path / "box"), clock) as box:
        assert (await box.claim(claim_text(chain.url, OTHER_PIN, "s" * 32, "S042")))[0] == 202
        while not (said := (await box.ask("GET", "/v1/claim"))[1])["detail"]:
            await clock.settle()
        assert said["state"] == "trying"
        assert "not the head office that gave the claim" in said["detail"]
        assert await asyncio.to_thread(box.setup.identity.state) == "pending"


async def test_a_claim_that_came_with_the_machine_enrols_the_box(
    tmp_path: Path, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As systemd hands on a credential of a virtual machine's firmware, or of /etc/credstore."""
    (tmp_path / "storebox.claim").write_text(await chain.claim())
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    async with unclaimed(a_config(tmp_path / "box")) as box:
        await box.setup.enrolled

        assert (await box.ask("GET", "/v1/claim"))[1]["state"] == "enrolled"

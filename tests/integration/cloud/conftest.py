"""The real head office on a real port, with a database of its own and a clock that stands still."""

import io
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from appliance.domain import wire
from appliance.domain.dsse import spki_fingerprint
from appliance.domain.enrolling import EnrolAnswer, read_claim
from appliance.domain.statements import RECEIPT_TYPE, Keys, Receipt, verify
from appliance.runtime.clock import rfc3339
from appliance.runtime.keyfile import read_public_pem
from cloud.auth import issue_to_technician, issue_to_till
from cloud.config import Settings
from cloud.wiring import open_daemon, open_office
from tests.fakes.boxes import LooseBox
from tests.fakes.clock import FakeClock


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Any
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    def lines(self) -> list[Any]:
        return [msgspec.json.decode(line) for line in self.body.splitlines()]

    @property
    def problem(self) -> str:
        """The stable code; fails when the answer is no problem+json."""
        assert self.headers["Content-Type"] == "application/problem+json", self.body
        assert self.json()["status"] == self.status
        code: str = self.json()["code"]
        return code


class World:
    """Head office as its callers see it, and what only a technician or head office itself does."""

    def __init__(
        self, settings: Settings, clock: FakeClock, session: aiohttp.ClientSession, token: str
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.session = session
        self.head_office = token

    async def ask(self, method: str, path: str, token: str | None = None, **options: Any) -> Answer:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= options.pop("headers", {})
        if isinstance(options.get("data"), bytes):
            options["data"] = io.BytesIO(options["data"])
        async with self.session.request(method, path, headers=headers, **options) as response:
            return Answer(response.status, response.headers, await response.read())

    async def read(self, path: str) -> Answer:
        return await self.ask("GET", path, self.head_office)

    async def claim(
        self, shop: str = "S042", name: str = "Nantes Centre", minutes: int = 10, *, key_hash: str = ""
    ) -> str:
        async with open_office(self.settings, self.clock) as office:
            made = await office.enrolment.new_claim(shop, name, minutes, key_hash=key_hash, by="head-office")
            return made.claim

    async def claim_secret(self, shop: str = "S042", name: str = "Nantes Centre", minutes: int = 10) -> str:
        return read_claim(await self.claim(shop, name, minutes)).secret

    async def till_token(self, shop: str = "S042", till: str = "till-1") -> str:
        async with open_office(self.settings, self.clock) as office:
            now = rfc3339(self.clock.wall())
            return await issue_to_till(office.database, shop, till, at=now)

    async def technician_token(self, shop: str = "S042", *, hours: int = 24) -> str:
        now = self.clock.wall()
        until = rfc3339(now + timedelta(hours=hours))
        async with open_office(self.settings, self.clock) as office:
            return await issue_to_technician(office.database, shop, "ana", until, at=rfc3339(now))

    async def post_enrolment(self, envelope: bytes) -> Answer:
        media = {"Content-Type": wire.ENVELOPE_MEDIA}
        return await self.ask("POST", "/.well-known/est/simpleenroll", data=envelope, headers=media)

    async def enrolled(
        self, seed: int | None = None, *, shop: str = "S042", name: str = "Nantes Centre"
    ) -> "Enrolled":
        box = LooseBox(seed)
        answer = await self.post_enrolment(box.enrolment(await self.claim_secret(shop, name)))
        assert answer.status == 201, answer.body
        view = msgspec.json.decode(answer.body, type=EnrolAnswer)
        key = read_public_pem(view.cloud_keys[0])
        return Enrolled(self, box, view, {spki_fingerprint(key): key})


class Enrolled:
    """A box that head office knows."""

    def __init__(self, world: World, box: LooseBox, answer: EnrolAnswer, cloud: Keys) -> None:
        self.world = world
        self.box = box
        self.answer = answer
        self.token = answer.box_token
        self.cloud = cloud
        self.path = f"/v1/boxes/{box.name}"

    async def post(self, what: str, body: bytes, media: str, **headers: str) -> Answer:
        headers = {"Content-Type": media} | {name.replace("_", "-"): text for name, text in headers.items()}
        return await self.world.ask("POST", f"{self.path}/{what}", self.token, data=body, headers=headers)

    async def send(self, body: bytes, nonce: str | None = None) -> Answer:
        """A batch."""
        nonce = nonce or secrets.token_hex(16)
        return await self.post("events", body, wire.BATCH_MEDIA, Storebox_Nonce=nonce)

    async def receipt(self, body: bytes) -> Receipt:
        """A batch that is taken: its receipt, verified, with the nonce of this very request."""
        nonce = secrets.token_hex(16)
        answer = await self.send(body, nonce)
        assert answer.status == 200, answer.body
        assert answer.headers["Content-Type"] == wire.ENVELOPE_MEDIA
        receipt = verify(answer.body, RECEIPT_TYPE, Receipt, self.cloud)
        assert (receipt.box, receipt.nonce) == (self.box.name, nonce)
        return receipt

    async def beat(self, **fields: Any) -> Answer:
        return await self.post("heartbeat", self.box.heartbeat(**fields), wire.ENVELOPE_MEDIA)

    async def stored(self, epoch: int = 1) -> list[bytes]:
        """The events that head office holds, verbatim."""
        answer = await self.world.read(f"{self.path}/epochs/{epoch}/events?limit=10000")
        return answer.body.splitlines()


@asynccontextmanager
async def a_world(state: Path, clock: FakeClock, *, proxies: Sequence[str] = ()) -> AsyncIterator[World]:
    settings = Settings(state=state, port=0, tls="off", proxies=list(proxies))
    async with open_daemon(settings, clock) as port:
        async with open_office(settings, clock) as office:
            token = office.token
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", auto_decompress=False) as session:
            yield World(settings, clock, session, token)


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still."""
    return FakeClock()


@pytest.fixture
async def world(tmp_path: Path, clock: FakeClock) -> AsyncIterator[World]:
    """Head office, empty."""
    async with a_world(tmp_path, clock) as world:
        yield world


@pytest.fixture
async def box(world: World) -> Enrolled:
    """A box that head office knows."""
    return await world.enrolled()

"""The real head office over real TLS, and boxes that hold their own keys; the clock stands still."""

import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from appliance.domain import wire
from appliance.domain.dsse import Signer
from appliance.domain.enrolling import EnrolAnswer, EnrolRequest, RenewAnswer, RenewRequest, read_claim
from appliance.domain.keychain import Rotation
from appliance.domain.statements import ENROLMENT_TYPE, RENEWAL_TYPE, sign
from appliance.runtime.certificates import csr, key_spki, private_pem
from appliance.runtime.keyfile import public_pem
from appliance.runtime.tls import client_context, dates_judge
from appliance.runtime.trusted_time import TrustedClock
from cloud.config import Settings
from cloud.wiring import open_daemon, open_office
from tests.fakes.authority import a_key
from tests.fakes.boxes import LooseBox
from tests.fakes.clock import FakeClock
from tests.integration.cloud.conftest import Answer, World, a_world

EST = "/.well-known/est"


class CertifiedBox(LooseBox):
    """A box with all its keys, and what head office gave it."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(seed)
        self.tls_key, self.lan_key = a_key(), a_key()
        self.given: EnrolAnswer | RenewAnswer | None = None

    @property
    def spki(self) -> str:
        return key_spki(self.tls_key)

    def request(self, text: str, **fields: Any) -> bytes:
        """Its enrolment under this claim's text; fields can be made wrong."""
        true = {
            "claim": read_claim(text).secret,
            "public_key": public_pem(self.signer.public_key),
            "nonce": secrets.token_hex(16),
            "csr": csr(self.tls_key, self.name),
            "lan_csr": csr(self.lan_key, self.name),
        }
        return sign(self.signer, ENROLMENT_TYPE, EnrolRequest(**{**true, **fields}))

    def renewal(self, *, signer: Signer | None = None, rotations: list[Rotation] | None = None) -> bytes:
        request = RenewRequest(
            self.name,
            secrets.token_hex(16),
            csr(self.tls_key, self.name),
            csr(self.lan_key, self.name),
            rotations or [],
        )
        return sign(signer or self.signer, RENEWAL_TYPE, request)

    @property
    def identity(self) -> tuple[bytes, bytes]:
        assert self.given is not None
        return private_pem(self.tls_key), self.given.certificate.encode()


class Chain(World):
    """Head office as its callers see it over TLS."""

    root_pem: str
    pin: str

    @asynccontextmanager
    async def connected(self, identity: tuple[bytes, bytes] | None) -> AsyncIterator[aiohttp.ClientSession]:
        """A session whose connections show this certificate, and that believes this head office alone."""
        async with aiohttp.ClientSession(
            self.session._base_url,
            connector=aiohttp.TCPConnector(ssl=self.context(identity)),
            auto_decompress=False,
        ) as session:
            yield session

    def context(self, identity: tuple[bytes, bytes] | None) -> ssl.SSLContext:
        """How a box connects."""
        judge = dates_judge(TrustedClock(self.clock, None))
        return client_context(authority=self.root_pem, judge=judge, identity=identity)

    async def as_box(self, box: CertifiedBox, method: str, path: str, **options: Any) -> Answer:
        """Ask over a connection that shows the box's certificate."""
        async with (
            self.connected(box.identity) as session,
            session.request(method, path, **options) as response,
        ):
            return Answer(response.status, response.headers, await response.read())

    async def renew(self, envelope: bytes) -> Answer:
        media = {"Content-Type": wire.ENVELOPE_MEDIA}
        return await self.ask("POST", f"{EST}/simplereenroll", data=envelope, headers=media)

    async def certified(self, seed: int | None = None, **claim: Any) -> CertifiedBox:
        box = CertifiedBox(seed)
        answer = await self.post_enrolment(box.request(await self.claim(**claim)))
        assert answer.status == 201, answer.body
        box.given = msgspec.json.decode(answer.body, type=EnrolAnswer)
        return box

    async def renewed(self, box: CertifiedBox) -> None:
        answer = await self.renew(box.renewal())
        assert answer.status == 201, answer.body
        box.given = msgspec.json.decode(answer.body, type=RenewAnswer)

    async def audit(self, action: str = "") -> list[Any]:
        rows = (await self.read("/v1/audit?after=0&limit=1000")).json()
        return [row for row in rows if action in ("", row["action"])]


@asynccontextmanager
async def a_chain(state: Path, clock: FakeClock) -> AsyncIterator[Chain]:
    settings = Settings(state=state, port=0, tls="on", names=["head.example"])
    async with open_daemon(settings, clock) as port:
        async with open_office(settings, clock) as office:
            token, authority = office.token, office.authority
        context = client_context(
            authority=authority.root_pem, judge=dates_judge(TrustedClock(clock, None)), identity=None
        )
        async with aiohttp.ClientSession(
            f"https://127.0.0.1:{port}", connector=aiohttp.TCPConnector(ssl=context), auto_decompress=False
        ) as session:
            chain = Chain(settings, clock, session, token)
            chain.root_pem, chain.pin = authority.root_pem, authority.pin
            yield chain


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still."""
    return FakeClock()


@pytest.fixture
async def chain(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Chain]:
    """Head office with TLS, empty."""
    async with a_chain(tmp_path, clock) as chain:
        yield chain


@pytest.fixture
async def behind_proxy(tmp_path: Path, clock: FakeClock) -> AsyncIterator[World]:
    """Head office behind a proxy that ends TLS: this very machine."""
    async with a_world(tmp_path, clock, proxies=["127.0.0.1"]) as world:
        yield world

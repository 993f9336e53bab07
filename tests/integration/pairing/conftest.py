"""A pairing desk with real keys and a real book of tills; and a whole box that serves its LAN over TLS."""

import asyncio
import hashlib
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from appliance.config import Config, Disk, Lan, Limits, Mdns
from appliance.domain.enrolling import EnrolAnswer
from appliance.domain.pairing import Invitation, PairAnswer, PairingView, PairRequest, read_payload
from appliance.gateways.est import enrol
from appliance.gateways.identity import Identity
from appliance.gateways.tills import TillBook
from appliance.places import files_in
from appliance.runtime.certificates import csr, private_pem, read_csr
from appliance.runtime.tls import pinned_context
from appliance.services.lan_keys import TillAuthority
from appliance.services.pairing import Grounds, Pairing
from appliance.services.presence import Presence
from appliance.services.tills import TillDesk
from appliance.wiring import open_box
from cloud.authority import Authority
from tests.fakes.authority import a_key
from tests.fakes.clock import FakeClock
from tests.fakes.recorder import FakeRecorder
from tests.integration.api.conftest import Answer
from tests.integration.cloud.conftest import World, a_world

LAN = "192.168.1.50"


@dataclass
class Desk:
    """The pairing desk of a box, without a network."""

    pairing: Pairing
    tills: TillBook
    desk: TillDesk
    presence: Presence
    journal: FakeRecorder
    clock: FakeClock
    identity: Identity

    async def invited(self, minutes: int = 10) -> str:
        """Open the window; the secret."""
        return read_payload((await self.pairing.open(minutes)).payload).secret

    @property
    def secret(self) -> str:
        """The one that is good now."""
        view = self.pairing.view()
        assert view is not None
        return read_payload(view.payload).secret

    def kinds(self) -> list[str]:
        return [kind for kind, _, _ in self.journal.recorded]


@pytest.fixture
async def desk(tmp_path: Path) -> Desk:
    return await a_desk(tmp_path, tls=True)


async def a_desk(folder: Path, *, tls: bool) -> Desk:
    clock, journal, tills = FakeClock(), FakeRecorder(), TillBook(folder / "tills.json")
    identity = await asyncio.to_thread(Identity, folder)
    presence = Presence(tills, clock, bound=True)
    till_desk = TillDesk(tills, presence, journal)
    grounds = Grounds(
        "", "https://office.example", ["a key"], lambda: ["192.168.1.20", "fd00::7"], lambda: 8480
    )
    pairing = Pairing(
        identity.hello("S042", "Nantes", tls=tls),
        TillAuthority(identity) if tls else None,
        tills,
        journal,
        clock,
        grounds,
        till_desk.changed.set,
    )
    return Desk(pairing, tills, till_desk, presence, journal, clock, identity)


def a_request(
    till: str = "T1", secret: str = "", *, key: EllipticCurvePrivateKey | None = None, name: str = ""
) -> PairRequest:
    return PairRequest(csr(key or a_key(), till), till, secret, name)


def shown(answer: PairAnswer) -> str:
    """What the box sees of the certificate on a connection."""
    der = x509.load_pem_x509_certificate(answer.certificate.encode()).public_bytes(Encoding.DER)
    return hashlib.sha256(der).hexdigest()


async def known_as(desk: Desk, answer: PairAnswer) -> str:
    return await desk.presence.identify(f"Bearer {answer.token}", shown(answer), LAN)


class LanTill:
    """A till on the LAN of a box: its key, and what it was given."""

    def __init__(self, url: str, spki: str, till: str = "T1") -> None:
        self.url, self.spki, self.till = url, spki, till
        self.key = a_key()
        self.answer: PairAnswer | None = None

    @property
    def context(self) -> ssl.SSLContext:
        """Pins the box; shows the certificate, once there is one."""
        if self.answer is None:
            return pinned_context(self.spki)
        return pinned_context(self.spki, (private_pem(self.key), self.answer.certificate.encode()))

    @asynccontextmanager
    async def session(self, context: ssl.SSLContext | None = None) -> AsyncIterator[aiohttp.ClientSession]:
        connector = aiohttp.TCPConnector(ssl=context or self.context)
        async with aiohttp.ClientSession(self.url, connector=connector) as session:
            yield session

    async def ask(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        context: ssl.SSLContext | None = None,
        **options: Any,
    ) -> Answer:
        """One request on a connection of its own."""
        if token is None:
            token = "" if self.answer is None else self.answer.token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= options.pop("headers", {})
        async with (
            self.session(context) as session,
            session.request(method, path, headers=headers, **options) as response,
        ):
            return Answer(response.status, response.headers, await response.read())

    async def pair(self, secret: str = "") -> Answer:
        request = a_request(self.till, secret, key=self.key)
        answer = await self.ask("POST", "/v1/pair", token="", **as_json(request))
        if answer.status == 201:
            self.answer = msgspec.json.decode(answer.body, type=PairAnswer)
        return answer


def as_json(body: object) -> dict[str, Any]:
    return {"data": msgspec.json.encode(body), "headers": {"Content-Type": "application/json"}}


@dataclass
class TlsShop:
    """A box that serves its LAN over TLS, with its head office behind it."""

    url: str
    config: Config
    clock: FakeClock
    office: World
    identity: Identity
    authority: Authority

    def till(self, till: str = "T1") -> LanTill:
        return LanTill(self.url, self.identity.spki, till)

    async def console(self, method: str, path: str, body: object = None) -> Answer:
        """As the box's own commands ask."""
        token = await asyncio.to_thread(files_in(self.config).console_token.read_text)
        options = {} if body is None else as_json(body)
        return await self.till("console").ask(method, path, token=token, **options)

    async def invitation(self) -> Invitation:
        opened = await self.console("POST", "/v1/pairing", {})
        assert opened.status == 201, opened.body
        return read_payload(msgspec.json.decode(opened.body, type=PairingView).payload)

    async def paired(self, till: str = "T1") -> LanTill:
        newcomer = self.till(till)
        answer = await newcomer.pair((await self.invitation()).secret)
        assert answer.status == 201, answer.body
        return newcomer


def certified(answer: EnrolAnswer, identity: Identity, authority: Authority) -> EnrolAnswer:
    """The answer with the intermediate that head office gives over TLS."""
    request = read_csr(csr(identity.lan_ca_key, identity.box))
    return msgspec.structs.replace(
        answer,
        lan_certificate=authority.lan_certificate(request, identity.box),
        authority=authority.root_pem,
    )


@asynccontextmanager
async def a_tls_shop(
    folder: Path, *, lan: Lan | None = None, limits: Limits | None = None, **given: Any
) -> AsyncIterator[TlsShop]:
    """`given`: fields of the enrolment's answer."""
    clock = FakeClock()
    async with a_world(folder / "cloud", clock) as office:
        config = Config(
            state=folder / "box",
            lan=lan or Lan("127.0.0.1", 0),
            limits=limits or Limits(),
            mdns=Mdns(enabled=False),
            disk=Disk(ballast_mib=1),
        )
        config.state.mkdir()
        identity = await asyncio.to_thread(Identity, config.state)
        cloud_url = str(office.session._base_url)
        answer = await enrol(cloud_url, identity.enrolment_request(await office.claim_secret()))
        (folder / "authority").mkdir()
        authority = await asyncio.to_thread(Authority.open, folder / "authority", clock)
        answer = msgspec.structs.replace(certified(answer, identity, authority), **given)
        await asyncio.to_thread(identity.keep_enrolment, cloud_url, answer)
        async with open_box(config, clock, random.Random(1)) as url:
            yield TlsShop(url, config, clock, office, identity, authority)


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[TlsShop]:
    async with a_tls_shop(tmp_path) as shop:
        yield shop

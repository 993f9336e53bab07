"""A box as tills meet it on the LAN: over TLS, with keys that can change, and a window through which they come in."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Literal

import msgspec
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from appliance.domain.dsse import Envelope, Signer, read_envelope
from appliance.domain.enrolling import Place
from appliance.domain.errors import NotFound, PairingClosed, PairingRefused, Unauthenticated
from appliance.domain.keychain import Rotation, Succession, TlsKey, rotate
from appliance.domain.pairing import Invitation, Observation, PairAnswer, PairRequest
from appliance.domain.statements import SUCCESSION_TYPE, TLS_KEY_TYPE, sign
from appliance.domain.wire import Hello
from appliance.runtime.certificates import issue, key_spki, private_pem, read_csr
from appliance.runtime.keyfile import public_pem
from appliance.runtime.problem import problem_middleware
from appliance.runtime.serving import listening
from appliance.runtime.tls import server_context, shown_by
from tests.fakes.authority import a_key
from tests.fakes.till_box import FakeBox
from tests.fakes.till_peers import AT, CLOUD_TOKEN

SECRET = "s" * 22
BEGINS, ENDS = datetime(2026, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
# Head office's statement key; another one for who only says that he is head office.
OFFICE = Signer(Ed25519PrivateKey.from_private_bytes(bytes([77] * 32)))


class PairedBox(FakeBox):
    """An honest box; `claims` makes it a liar that answers in another's name."""

    def __init__(self, seed: int = 1, *, claims: FakeBox | None = None, cloud_url: str = "") -> None:
        super().__init__(seed)
        if claims is not None:
            self.id = claims.id
        self.cloud_url = cloud_url
        self.tls_key, self._till_ca = a_key(), a_key()
        self._till_ca_pem = self._issue("tills", self._till_ca)
        self.vouched_at = AT
        self.vouches = True
        self.rotations: list[Rotation] = []
        self.succession: Envelope | None = None
        self.state: Literal["unclaimed", "ready"] = "ready"
        self.secret: str | None = SECRET
        self.inherited: set[str] = set()
        self.bound: dict[str, str] = {}
        self.observed: list[Observation] = []
        self.tokens_given = 0
        self.listed: list[str] | None = None

    @property
    def spki(self) -> str:
        return key_spki(self.tls_key)

    @property
    def place(self) -> str:
        """host:port."""
        return self.url.removeprefix("https://")

    def invitation(self, *addresses: str) -> Invitation:
        """What its QR code says."""
        return Invitation(self.id, self.spki, self.signer.key_id, SECRET, list(addresses), "shop-1")

    def rotate(self, seed: int) -> None:
        """Sign with another key from now on."""
        new = Signer(Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32)))
        self.rotations.append(rotate(self.id, len(self.rotations) + 1, self.signer, new, AT))
        self.signer = new

    def change_tls_key(self, vouched_at: str) -> None:
        """Have another TLS key at the next start, vouched for at that time."""
        self.tls_key, self.vouched_at = a_key(), vouched_at

    def succeed(self, old: FakeBox, *, office: Signer = OFFICE, **fields: str) -> Envelope:
        """Head office's statement that this box stands in the place of `old`; fields can be made wrong."""
        true = {
            "old": old.id,
            "new": self.id,
            "fp": self.signer.key_id,
            "spki": self.spki,
            "shop": "shop-1",
            "at": AT,
        }
        return read_envelope(sign(office, SUCCESSION_TYPE, Succession(**{**true, **fields})))

    def hello(self) -> Hello:
        vouch = read_envelope(sign(self.signer, TLS_KEY_TYPE, TlsKey(self.id, self.spki, self.vouched_at)))
        return msgspec.structs.replace(
            super().hello(),
            tls=True,
            spki=self.spki,
            vouch=vouch if self.vouches else None,
            rotations=list(self.rotations),
            succession=self.succession,
            state=self.state,
        )

    def _add_routes(self, app: web.Application) -> None:
        app.router.add_post("/v1/pair", self._pair)
        app.router.add_post("/v1/observations", self._guard(self._observe))

    def _context(self) -> ssl.SSLContext | None:
        chain = self._issue(f"{self.id}.local", self.tls_key, ca=False)
        return server_context(
            (private_pem(self.tls_key), chain), clients=self._till_ca_pem.decode(), minimum="1.3"
        )

    def _knows(self, request: web.Request) -> bool:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        shown = shown_by(request.transport)
        return shown is not None and self.bound.get(token) == shown

    async def _pair(self, request: web.Request) -> web.Response:
        asked = msgspec.json.decode(await request.read(), type=PairRequest)
        csr = read_csr(asked.csr)
        if asked.secret:
            if self.secret is None:
                raise PairingClosed
            if asked.secret != self.secret:
                raise PairingRefused(tries_left=4)
        elif csr.spki not in self.inherited:
            raise PairingClosed
        authority = x509.load_pem_x509_certificate(self._till_ca_pem)
        certificate = issue(
            asked.till,
            csr.public_key,
            authority,
            self._till_ca,
            ca=False,
            pathlen=None,
            not_before=BEGINS,
            not_after=ENDS,
        )
        self.tokens_given += 1
        token = f"token-{self.id}-{self.tokens_given}"
        self.bound[token] = x509.load_pem_x509_certificate(certificate).fingerprint(SHA256()).hex()
        answer = PairAnswer(
            box=self.id,
            till=asked.till,
            token=token,
            certificate=(certificate + self._till_ca_pem).decode(),
            authority="",
            cloud_url=self.cloud_url,
            cloud_keys=[public_pem(OFFICE.public_key)],
            addresses=[self.place] if self.listed is None else self.listed,
            port=8480,
            hello=self.hello(),
        )
        return web.Response(body=msgspec.json.encode(answer), status=201, content_type="application/json")

    async def _observe(self, request: web.Request) -> web.Response:
        self.observed.append(msgspec.json.decode(await request.read(), type=Observation))
        return web.Response(status=204)

    def _issue(self, name: str, key: EllipticCurvePrivateKey, *, ca: bool = True) -> bytes:
        return issue(
            name,
            key.public_key(),
            None,
            key,
            ca=ca,
            pathlen=0 if ca else None,
            not_before=BEGINS,
            not_after=ENDS,
        )


class FakeLocator:
    """Head office, which knows where boxes are and who took whose place."""

    def __init__(self) -> None:
        self.places: dict[str, Place] = {}
        self.url = ""

    def told(self, box: PairedBox, succession: Envelope | None = None) -> None:
        """A box said where it is (or its successor stands in its place)."""
        host, port = box.place.split(":") if box.url else ("", "0")
        self.places[box.id] = Place(box.id, [host] if host else [], int(port), box.spki, 1.0, succession)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Answer on loopback while inside."""
        app = web.Application(middlewares=[problem_middleware])
        app.router.add_get("/v1/locator/{box}", self._locate)
        async with listening(app, "127.0.0.1", 0) as bound:
            self.url = f"http://127.0.0.1:{bound}"
            yield

    async def _locate(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {CLOUD_TOKEN}":
            raise Unauthenticated
        place = self.places.get(request.match_info["box"])
        if place is None:
            raise NotFound
        return web.Response(body=msgspec.json.encode(place), content_type="application/json")

"""A box on this LAN: who it says it is, checked as far as it can be, and what is handed to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp

from appliance.domain.dsse import spki_fingerprint
from appliance.domain.enrolling import ClaimNote, ClaimState
from appliance.domain.errors import BadSignature, ConfigError
from appliance.domain.identity import box_id
from appliance.domain.keychain import TlsKey
from appliance.domain.statements import TLS_KEY_TYPE, verify
from appliance.domain.wire import Hello
from appliance.runtime.keyfile import read_public_pem
from appliance.runtime.tls import pinned_context, spki_of, unverified_context
from provisioning.errors import NoAnswer
from provisioning.peer import Peer, check_plain

PORT = 8480


class Box(NamedTuple):
    """A box that was met. `spki` is the key of its connection ("": plain HTTP); `peer` speaks to that key only.

    What it says of its event key holds together. That it has this key is proven where `vouched`; else head office
    asks for the proof, since a claim is bound to the key.
    """

    peer: Peer
    hello: Hello
    spki: str
    vouched: bool

    async def again(self) -> Hello:
        """Its hello as it is now. Raises NoAnswer, Refused."""
        return await self.peer.get("/v1/hello", Hello)

    async def give(self, claim: str) -> None:
        """Hand a claim over; it is on the box's disk when this returns. Raises NoAnswer, Refused."""
        await self.peer.tell("/v1/claim", ClaimNote(claim))

    async def claim_state(self) -> ClaimState:
        """How far it is with the claim. Raises NoAnswer, Refused."""
        return await self.peer.get("/v1/claim", ClaimState)


@asynccontextmanager
async def met(where: str) -> AsyncIterator[Box]:
    """The box at HOST[:PORT]. Raises NoAnswer when no box answers there, or one that contradicts itself."""
    async with aiohttp.ClientSession() as session:
        yield await meet(session, where)


async def meet(session: aiohttp.ClientSession, where: str) -> Box:
    """As `met`, in a session of the caller's."""
    url, seen = url_of(where), list[str]()
    context = unverified_context()
    context.judge = lambda der: seen.append("" if der is None else spki_of(der))
    plain = url.startswith("http://")
    hello = await Peer(session, url, None if plain else context).get("/v1/hello", Hello)
    spki = "" if plain else seen[-1]
    vouched = _check(hello, spki, url)
    return Box(Peer(session, url, None if plain else pinned_context(spki)), hello, spki, vouched)


def url_of(where: str) -> str:
    """HOST[:PORT] as a URL; a URL stays. Raises ConfigError."""
    if where.startswith("http://"):
        check_plain(where)
        return where.rstrip("/")
    host = where.removeprefix("https://").rstrip("/")
    host = f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host
    try:
        parts = urlsplit(f"https://{host}")
        name, port = parts.hostname, parts.port or PORT
    except ValueError as error:
        raise ConfigError(f"{where}: say HOST or HOST:PORT") from error
    if not name or parts.path or parts.query or parts.username is not None:
        raise ConfigError(f"{where}: say HOST or HOST:PORT")
    return f"https://[{name}]:{port}" if ":" in name else f"https://{name}:{port}"


def place(address: str, port: int) -> str:
    """HOST:PORT of an address; an IPv6 one in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _check(hello: Hello, spki: str, url: str) -> bool:
    """Whether it is vouched for that the key of the connection is the box's. Raises NoAnswer for a contradiction."""
    try:
        key = read_public_pem(hello.key)
        if spki_fingerprint(key) != hello.fp:
            raise NoAnswer(f"{url}: its key has another hash than it says")
        if not hello.rotations and box_id(key) != hello.box:
            raise NoAnswer(f"{url}: its name does not follow from its key")
        if spki and hello.spki != spki:
            raise NoAnswer(f"{url}: somebody stands between: the connection has another key than the box")
        if hello.vouch is None or not spki:
            return False
        said = verify(hello.vouch, TLS_KEY_TYPE, TlsKey, {hello.fp: key})
    except (ConfigError, BadSignature) as error:
        raise NoAnswer(f"{url}: {error}") from error
    if (said.box, said.spki) != (hello.box, spki):
        raise NoAnswer(f"{url}: it vouches for another key than that of the connection")
    return True

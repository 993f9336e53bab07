"""Head office as a technician meets it: known by the pin of the chain's root, asked with a technician's token."""

import argparse
import base64
import binascii
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import load_der_pkcs7_certificates

from appliance.domain.dsse import spki_fingerprint
from appliance.domain.enrolling import BoxView, ClaimAnswer, ClaimOrder, Revocation
from appliance.domain.errors import ConfigError
from appliance.runtime.clock import SystemClock
from appliance.runtime.tls import client_context, dates_judge, unverified_context
from appliance.runtime.trusted_time import TrustedClock
from provisioning.errors import NoAnswer, Refused
from provisioning.peer import Peer, check_plain

CACERTS = "/.well-known/est/cacerts"
URL, AUTHORITY, TOKEN = "STOREBOX_CLOUD_URL", "STOREBOX_AUTHORITY", "STOREBOX_TECHNICIAN_TOKEN"


class Credentials(NamedTuple):
    """Where head office is, the pin of its root (empty: the system's trust store), and the token for it."""

    cloud: str
    authority: str
    token: str


class Office(NamedTuple):
    """Head office. `root` is the chain's root (PEM), or empty when the system's trust store judges."""

    peer: Peer
    root: str

    async def claim(self, order: ClaimOrder) -> ClaimAnswer:
        """A claim. Raises Refused, NoAnswer, as all here do."""
        return await self.peer.post("/v1/claims", order, ClaimAnswer)

    async def boxes(self) -> list[BoxView]:
        """The boxes of the technician's shop; of every shop for head office."""
        return await self.peer.get("/v1/boxes", list[BoxView])

    async def box(self, name: str) -> BoxView:
        """One of them."""
        found = [box for box in await self.boxes() if box.box == name]
        if not found:
            raise Refused(f"head office knows no {name} in your shop", problem="not-found")
        return found[0]

    async def revoke(self, box: str, reason: str) -> None:
        """Believe a box no more."""
        await self.peer.tell(f"/v1/boxes/{box}/revocation", Revocation(reason))


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that tell where head office is; a token is never one of them."""
    parser.add_argument("--cloud", metavar="URL", help=f"head office; else from {URL}")
    parser.add_argument("--authority", metavar="PIN", help=f"the pin of its root; else from {AUTHORITY}")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help=f"your token; else it is in {TOKEN}")


def credentials(args: argparse.Namespace) -> Credentials:
    """What the options and the environment say. Raises ConfigError when something is missing."""
    said = known_credentials(args)
    for value, option, variable in ((said.cloud, "--cloud", URL), (said.token, "--token-file", TOKEN)):
        if not value:
            raise ConfigError(f"{option} is needed, or {variable} in the environment")
    return said


def known_credentials(args: argparse.Namespace) -> Credentials:
    """The same, with gaps. Raises ConfigError for a file that cannot be read, or plain HTTP to another machine."""
    cloud = (args.cloud or os.environ.get(URL, "")).rstrip("/")
    if cloud and not cloud.startswith(("http://", "https://")):
        raise ConfigError(f"{cloud}: begins with https://")
    check_plain(cloud)
    try:
        token = args.token_file.read_text().strip() if args.token_file else os.environ.get(TOKEN, "")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{args.token_file}: cannot be read") from error
    return Credentials(cloud, args.authority or os.environ.get(AUTHORITY, ""), token)


@asynccontextmanager
async def open_office(said: Credentials) -> AsyncIterator[Office]:
    """Head office, known by its authority. Raises NoAnswer when who answers there is another."""
    async with aiohttp.ClientSession() as session:
        if said.cloud.startswith("http://"):
            yield Office(Peer(session, said.cloud, None, said.token), "")
            return
        root = await _root(session, said) if said.authority else ""
        judge = dates_judge(TrustedClock(SystemClock(), None))
        context = client_context(authority=root or None, judge=judge, identity=None)
        yield Office(Peer(session, said.cloud, context, said.token), root)


async def _root(session: aiohttp.ClientSession, said: Credentials) -> str:
    """The root with the pinned key, out of what an unverified server names (RFC 7030 4.1.1): nothing is told to it."""
    body = await Peer(session, said.cloud, unverified_context()).raw(CACERTS)
    try:
        roots = load_der_pkcs7_certificates(base64.b64decode(body))
    except (binascii.Error, ValueError, UnsupportedAlgorithm) as error:
        raise NoAnswer(f"{said.cloud}: its authority cannot be read") from error
    for root in roots:
        if spki_fingerprint(root.public_key()) == said.authority:
            return root.public_bytes(Encoding.PEM).decode()
    raise NoAnswer(f"{said.cloud} is not the head office with the pin {said.authority}")

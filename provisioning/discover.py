"""The boxes on this LAN: who announces himself, who he says he is, and whether the chain vouches for him."""

import argparse
import asyncio
import ssl
from typing import Literal

import aiohttp
import msgspec

from appliance.domain.errors import ConfigError
from appliance.domain.wire import Hello
from appliance.runtime.clock import SystemClock
from appliance.runtime.tls import client_context, dates_judge
from appliance.runtime.trusted_time import TrustedClock
from provisioning import office, show
from provisioning.box import Box, meet, place
from provisioning.errors import FINE, NO_ANSWER, NoAnswer, Refused
from provisioning.office import open_office
from provisioning.peer import Peer
from till.discovery import Found, search

Trusted = Literal["yes", "no", "unknown"]


class Seen(msgspec.Struct, frozen=True):
    """A box on this LAN. `trusted`: whether the chain's authority vouches for it; `problem`: why it was not met."""

    box: str
    shop: str
    state: str
    software: str
    addresses: list[str]
    port: int
    fp: str
    spki: str
    trusted: Trusted
    problem: str = ""


def discover(args: argparse.Namespace) -> int:
    """List the boxes on this LAN."""
    show.step(f"looking for {args.seconds:.0f} s")
    seen = asyncio.run(look(args))
    show.answer(args, seen, "\n".join(map(_line, seen)) or "no box announces itself on this network")
    return FINE if seen else NO_ANSWER


def _line(box: Seen) -> str:
    places = ", ".join(place(address, box.port) for address in box.addresses)
    parts = [box.box, box.shop or "-", box.state, places, f"trusted: {box.trusted}", box.problem]
    return "\t".join(part for part in parts if part)


async def look(args: argparse.Namespace) -> list[Seen]:
    """Search by mDNS, and meet each box that is found. Raises ConfigError for an interface that is not ours."""
    found = await search_here(args)
    root = await _root(args)
    async with aiohttp.ClientSession() as session:
        return list(await asyncio.gather(*(_see(session, one, root) for one in found)))


async def search_here(args: argparse.Namespace) -> list[Found]:
    """Who announces himself. Raises ConfigError for an interface that is not ours."""
    try:
        return await search(args.seconds, args.interface)
    except OSError as error:
        raise ConfigError(f"--interface: {error}") from error


async def trusted(session: aiohttp.ClientSession, box: Box, root: str) -> Trusted:
    """Whether the chain vouches for a box under its own name."""
    if not root or not box.spki:
        return "unknown"
    context = client_context(
        authority=root, judge=dates_judge(TrustedClock(SystemClock(), None)), identity=None
    )
    try:
        await Peer(session, box.peer.base, context, name=f"{box.hello.box}.local").get("/v1/hello", Hello)
    except (NoAnswer, Refused, ssl.SSLError):
        return "no"
    return "yes"


async def _root(args: argparse.Namespace) -> str:
    said = office.known_credentials(args)
    if not said.cloud or not said.authority:
        return ""
    try:
        async with open_office(said) as desk:
            return desk.root
    except NoAnswer as error:
        show.step(f"whether they are to be trusted cannot be said: {error}")
        return ""


async def _see(session: aiohttp.ClientSession, found: Found, root: str) -> Seen:
    problem = "no address"
    for address in found.addresses:
        try:
            box = await meet(session, place(address, found.port))
        except (NoAnswer, Refused) as error:
            problem = str(error)
            continue
        if box.hello.box != found.box:
            problem = f"{address} answers as {box.hello.box}"
            continue
        hello = box.hello
        return Seen(
            hello.box,
            hello.shop,
            hello.state,
            hello.software,
            found.addresses,
            found.port,
            hello.fp,
            box.spki,
            await trusted(session, box, root),
        )
    return Seen(
        found.box, found.shop, "unmet", "", found.addresses, found.port, found.fp, "", "unknown", problem
    )

"""How a till finds its box and knows it: by its pairing, or (plain HTTP, loopback) by a token and a pin."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from appliance.domain.errors import ConfigError
from appliance.runtime.clock import Clock
from appliance.runtime.tls import client_context, dates_judge
from appliance.runtime.trusted_time import TrustedClock
from till.identity import Pairing, TillKeys
from till.ladder import KnownPlaces, LadderPlaces
from till.locator import Locator
from till.lookout import AnnouncedPlaces, FixedPlace, Places
from till.options import Options
from till.peer import open_session
from till.pin import PinFile
from till.proof import PairedProof, PlainProof, Prove
from till.report import Tell
from till.succession import Successions

PIN_FILE, PLACES_FILE = "box.json", "places.json"


class Whereabouts(NamedTuple):
    """Where to look, and how to prove; `ladder` and `keys` with a pairing only."""

    places: Places
    prove: Prove
    known: str | None
    ladder: LadderPlaces | None
    keys: TillKeys
    cloud_context: ssl.SSLContext | None


@asynccontextmanager
async def open_whereabouts(options: Options, tell: Tell, clock: Clock) -> AsyncIterator[Whereabouts]:
    """Read what the till knows. Raises ConfigError when that is damaged, or of another till."""
    keys = TillKeys(options.state)
    await asyncio.to_thread(keys.load)
    if keys.pairing is None or options.plain:
        async with _by_pin(options, keys, tell) as found:
            yield found
    else:
        async with _by_pairing(options, keys, keys.pairing, tell, clock) as found:
            yield found


@asynccontextmanager
async def _by_pin(options: Options, keys: TillKeys, tell: Tell) -> AsyncIterator[Whereabouts]:
    if options.box_token is None:
        raise ConfigError("this till is not paired: storebox-till pair")
    pins = PinFile(options.state / PIN_FILE)
    await asyncio.to_thread(pins.load)
    places = (
        AnnouncedPlaces(pins, options.interfaces, tell)
        if options.box_url is None
        else FixedPlace(options.box_url)
    )
    known = None if pins.pinned is None else pins.pinned.box
    async with open_session(options.box_token) as session:
        yield Whereabouts(places, PlainProof(session, pins, tell), known, None, keys, None)


@asynccontextmanager
async def _by_pairing(
    options: Options, keys: TillKeys, pairing: Pairing, tell: Tell, clock: Clock
) -> AsyncIterator[Whereabouts]:
    if pairing.till != options.till_id:
        raise ConfigError(f"{options.state} is paired as {pairing.till}, not as {options.till_id}")
    known, successions = KnownPlaces(options.state / PLACES_FILE), Successions()
    await asyncio.to_thread(known.load)
    context = await asyncio.to_thread(_cloud_context, pairing, clock)
    async with open_session(None) as session:
        locator = None
        if options.cloud_token is not None and pairing.cloud_url:
            over_tls = context if pairing.cloud_url.startswith("https://") else None
            locator = Locator(session, pairing.cloud_url, options.cloud_token, over_tls, successions)
        ladder = LadderPlaces(
            keys, known, options.interfaces, locator, _https(options.box_url), options.lang, tell
        )
        prove = PairedProof(session, keys, successions, tell)
        yield Whereabouts(ladder, prove, pairing.box, ladder, keys, context)


def _https(place: str | None) -> str | None:
    """A URL of what somebody typed."""
    return place if place is None or "://" in place else f"https://{place}"


def _cloud_context(pairing: Pairing, clock: Clock) -> ssl.SSLContext | None:
    """How head office is known: by the chain's own authority, when the box told it."""
    if not pairing.authority:
        return None
    judge = dates_judge(TrustedClock(clock, None))
    return client_context(authority=pairing.authority, judge=judge, identity=None)

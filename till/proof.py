"""Whether it is our box that answers at an address. That something answers there is no proof of anything.

Without a pairing (plain HTTP, loopback) the box is the one that was met first. With one it proves its TLS key, its
event key, and that it knows us; when it does not, it is asked without a word about us who it is now: the same box with
a TLS key that it vouches for, a box that head office put in its place, or nobody of ours.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple

import aiohttp

from appliance.domain.errors import BadSignature
from appliance.domain.link import Cause
from appliance.domain.wire import Hello, Status
from appliance.runtime.tls import spki_of, unverified_context
from till.box import Box, hello
from till.errors import NoAnswer, NotOurBox, Refused
from till.identity import TillKeys, vouched
from till.pairing import pair_by_key
from till.pin import PinFile, goes_on, identity_of
from till.report import RePaired, Tell, Untrusted
from till.succession import Successions, check_successor

log = logging.getLogger(__name__)

Outcome = Literal["found", "no-answer", "not-ours", "refused"]


class Met(NamedTuple):
    """Our box, and how it is."""

    box: Box
    status: Status


class Look(NamedTuple):
    """What came of looking at an address."""

    met: Met | None
    outcome: Outcome


Prove = Callable[[str], Awaitable[Look]]


class Complaints:
    """Says what is wrong at an address: loud, and once; a till that knocks often must not bury its own log."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._told: set[tuple[str, str]] = set()

    def look(self, url: str, error: NoAnswer | NotOurBox | Refused) -> Look:
        """The outcome that an error stands for."""
        match error:
            case NotOurBox():
                self._untrusted(url, str(error))
                return Look(None, "not-ours")
            case Refused():
                self._untrusted(url, f"our token was not accepted: {error.problem_code}")
                return Look(None, "refused")
            case NoAnswer():
                log.info("box.no_answer", extra={"url": url, "error": str(error)})
                return Look(None, "no-answer")

    def _untrusted(self, url: str, reason: str) -> None:
        if (url, reason) not in self._told:
            self._told.add((url, reason))
            self._tell(Untrusted(url, reason))


class PlainProof:
    """The box that is pinned, or the first that takes our token, which the session holds."""

    def __init__(self, session: aiohttp.ClientSession, pins: PinFile, tell: Tell) -> None:
        self._session = session
        self._pins = pins
        self._complaints = Complaints(tell)

    async def __call__(self, url: str) -> Look:
        """Look at this base URL; a box that proves itself is pinned."""
        try:
            greeting = await hello(self._session, url)
            identity = identity_of(greeting)
            self._pins.check(identity)
            box = Box(self._session, url, identity)
            status = await box.status()
            await self._pins.pin(greeting)
        except (NoAnswer, NotOurBox, Refused) as error:
            return self._complaints.look(url, error)
        return Look(Met(box, status), "found")


class PairedProof:
    """The box of the pairing, or one that may take its place: then the pairing is renewed."""

    def __init__(
        self, session: aiohttp.ClientSession, keys: TillKeys, successions: Successions, tell: Tell
    ) -> None:
        self._session = session
        self._keys = keys
        self._successions = successions
        self._tell = tell
        self._complaints = Complaints(tell)
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self, url: str) -> Look:
        """Look at this base URL; never in plain."""
        if not url.startswith("https://"):
            return self._complaints.look(url, NotOurBox("a paired till speaks TLS only"))
        try:
            return Look(await self._met(url), "found")
        except NoAnswer as error:
            # In doubt: it took our connection, and ended it when it saw who we are.
            if error.cause != Cause.TLS and not error.in_doubt:
                return self._complaints.look(url, error)
        except (NotOurBox, Refused) as error:
            return self._complaints.look(url, error)
        try:
            return Look(await self._met_anew(url), "found")
        except (NoAnswer, NotOurBox, Refused) as error:
            return self._complaints.look(url, error)

    async def _met(self, url: str) -> Met:
        pairing = self._keys.paired
        context = self._keys.context
        greeting = await hello(self._session, url, context)
        identity = goes_on(pairing.hello, greeting)
        box = Box(self._session, url, identity, context=context, token=pairing.token)
        status = await box.status()
        if greeting.rotations != pairing.hello.rotations:
            await asyncio.to_thread(self._keys.keep_hello, greeting)
        return Met(box, status)

    async def _met_anew(self, url: str) -> Met:
        # Two addresses of one box must not renew the pairing twice.
        async with self._one_at_a_time:
            pairing = self._keys.paired
            greeting, spki = await look_at(self._session, url)
            known = (greeting.box, spki) == (pairing.box, pairing.spki)
            if not known:
                await self._renew(url, greeting, spki)
        try:
            return await self._met(url)
        except NoAnswer as error:
            if known and error.in_doubt:
                # It speaks to anybody, but not to who shows our certificate.
                raise NotOurBox(f"{pairing.box} does not know this till any more: pair it again") from error
            raise

    async def _renew(self, url: str, greeting: Hello, spki: str) -> None:
        pairing = self._keys.paired
        if greeting.state != "ready":
            raise NotOurBox(f"{greeting.box} belongs to no shop yet", known=pairing.box, met=greeting.box)
        if greeting.box != pairing.box:
            identity = check_successor(self._successions, pairing, greeting, spki)
            # A pairing that the box has written down is not to be lost because somebody gave up waiting.
            await asyncio.shield(pair_by_key(self._session, self._keys, url, identity.box, spki))
            self._tell(RePaired(identity.box, pairing.box))
            return
        identity = goes_on(pairing.hello, greeting)
        try:
            said = vouched(greeting, identity, spki)
        except BadSignature as error:
            raise NotOurBox(f"{greeting.box} shows another TLS key: {error}") from error
        if said.at <= pairing.vouched_at:
            raise NotOurBox(f"{greeting.box} shows a TLS key that it had before the one we know")
        await asyncio.to_thread(self._keys.keep_tls_key, greeting, said)


async def look_at(session: aiohttp.ClientSession, url: str) -> tuple[Hello, str]:
    """Who claims to be at this address, and by which TLS key. Nothing of ours is shown. Raises NoAnswer."""
    seen: list[str] = []
    context = unverified_context()
    context.judge = lambda der: seen.append("" if der is None else spki_of(der))
    try:
        greeting = await hello(session, url, context)
    except Refused as error:
        raise NoAnswer(f"{url}: {error}", cause=Cause.REFUSED, in_doubt=False) from error
    return greeting, seen[-1]

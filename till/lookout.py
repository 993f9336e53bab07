"""Stay in touch with the box: find it, check who it is, hear its news; when it falls silent, find it again.

The address may change at any time (a restart on another port, a new lease): the last good one is tried first, then
whoever announces himself as our box. Who is believed decides `till/proof.py`.
"""

import asyncio
import logging
import random
from collections.abc import Sequence
from typing import Protocol

from appliance.domain.link import Cause
from appliance.domain.wire import Status
from appliance.runtime.clock import Clock
from till.box import Box, View
from till.discovery import Found, browsing
from till.errors import NoAnswer, Refused
from till.pace import for_ever
from till.pin import PinFile
from till.proof import Met, Prove
from till.report import Connected, Disconnected, Discovered, Tell

log = logging.getLogger(__name__)

# One search: the box announces itself within a second of its start; lost packets are asked for again within three.
SEARCH_S = 3.0
# A box that restarts is back within seconds, and a cashier waits.
BACK_OFF_BASE_S, BACK_OFF_CAP_S = 0.2, 3.0


class Listener(Protocol):
    """Who wants to know of the box."""

    async def connected(self, box: Box, status: Status) -> None:
        """The box proved itself and is so; called once for each new connection, before its news."""
        ...

    async def told(self, box: Box, view: View) -> None:
        """News of that box."""
        ...


class Places(Protocol):
    """Where a box may be."""

    async def find(self, last: str | None, prove: Prove) -> Met | None:
        """The first box that `prove` (given a base URL) accepts; `last` is the URL that worked before."""
        ...


class FixedPlace:
    """The box is where somebody said, and nowhere else."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def find(self, last: str | None, prove: Prove) -> Met | None:  # noqa: ARG002  one place needs no last one
        """Look at that URL."""
        return (await prove(self._url)).met


class AnnouncedPlaces:
    """The box is where it announces itself by mDNS."""

    def __init__(self, pins: PinFile, interfaces: Sequence[str], tell: Tell) -> None:
        self._pins = pins
        self._interfaces = interfaces
        self._tell = tell
        self._reported: dict[str, Found] = {}

    async def find(self, last: str | None, prove: Prove) -> Met | None:
        """Look where it was, then where it announces itself: our box when one is pinned, any box before."""
        if last is not None and (met := (await prove(last)).met) is not None:
            return met
        until_s = asyncio.get_running_loop().time() + SEARCH_S
        try:
            async with browsing(self._interfaces) as boxes:
                while True:
                    async with asyncio.timeout_at(until_s):
                        found = await boxes.get()
                    if (met := await self._look_at(found, prove)) is not None:
                        return met
        except TimeoutError:
            return None
        except OSError as error:
            log.warning("discovery.failed", extra={"error": str(error)})
            return None

    async def _look_at(self, found: Found, prove: Prove) -> Met | None:
        if self._reported.get(found.box) != found:
            self._reported[found.box] = found
            self._tell(Discovered.of(found))
        if self._pins.pinned is not None and self._pins.pinned.box != found.box:
            return None
        for url in found.urls:
            if (met := (await prove(url)).met) is not None:
                return met
        return None


class Lookout:
    """Keeps `box` at the last address where it proved itself, and its listener informed."""

    def __init__(
        self,
        places: Places,
        prove: Prove,
        listener: Listener,
        tell: Tell,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._places = places
        self._prove = prove
        self._listener = listener
        self._tell = tell
        self._clock = clock
        self._rng = rng
        self._listening: asyncio.Timeout | None = None
        self._status: Status | None = None
        self.box: Box | None = None
        # Set once the box was met, or was not found where it was looked for first.
        self.first_try = asyncio.Event()

    async def run(self) -> None:
        """Find, listen, and find again. Returns only when cancelled."""
        while True:
            # A new pace for each search: a box that was just there is most likely back soon.
            retrying = for_ever(
                self._clock.sleep, self._rng, on=NoAnswer, base_s=BACK_OFF_BASE_S, cap_s=BACK_OFF_CAP_S
            )
            box: Box = await retrying(self.find)
            reason = await self._listen(box)
            self._tell(Disconnected(box.identity.box, reason))

    def suspect(self) -> None:
        """A request to the box got no answer: do not wait for the stream to notice."""
        if self._listening is not None and not self._listening.expired():
            self._listening.reschedule(asyncio.get_running_loop().time())

    async def find(self) -> Box:
        """The box, at the first place where it proves itself and takes our token. Raises NoAnswer when nowhere."""
        met = await self._places.find(None if self.box is None else self.box.base, self._prove)
        if met is None:
            self.first_try.set()
            raise NoAnswer("no box found", cause=Cause.NO_ANSWER, in_doubt=False)
        self.box, self._status = met
        return self.box

    async def _listen(self, box: Box) -> str:
        try:
            async with asyncio.timeout(None) as self._listening, box.events() as views:
                self._tell(Connected(box.identity.box, box.base))
                assert self._status is not None  # proving a box asks for it
                await self._listener.connected(box, self._status)
                self.first_try.set()
                async for view in views:
                    await self._listener.told(box, view)
        except TimeoutError:
            return "a request got no answer"
        except (NoAnswer, Refused) as error:
            self.first_try.set()
            return str(error)
        finally:
            self._listening = None
        return "the box ended the stream"

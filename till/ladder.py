"""Where a paired till looks for its box, from the likeliest place to the last: each is only a hint, and is proven.

last     where it proved itself before
mdns     where it announces itself, or one that head office put in its place
list     the addresses that it told at pairing
locator  where it told head office that it is
manual   where somebody says it is
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from appliance.domain.errors import ConfigError
from appliance.runtime.files import write_whole
from till.discovery import Found, browsing
from till.errors import NoAnswer, Refused
from till.identity import TillKeys
from till.locator import LOCATE_S, Locator
from till.proof import Look, Met, Outcome, Prove
from till.report import Discovered, NotFound, Rung, Tell, Tried
from till.sentences import Lang, not_found

log = logging.getLogger(__name__)

# An address at which nobody answers so soon is not where the box is.
PROOF_S = 2.0
SEARCH_S = 3.0
LIST_S = 5.0
KEPT = 4
LISTED = 8
AT_ONCE = 2
# Somebody may shout on the LAN in the names of many boxes.
LOOKS_MAX = 16


class KnownPlaces:
    """The addresses where the box proved itself, the latest first; a lost file costs a search."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.urls: list[str] = []

    def load(self) -> None:
        """Read the file. Blocks."""
        with suppress(OSError, ValueError):
            self.urls = msgspec.json.decode(self._path.read_bytes(), type=list[str])[:KEPT]

    def keep(self, url: str) -> None:
        """The box is here. Blocks."""
        if self.urls[:1] == [url]:
            return
        self.urls = [url, *(known for known in self.urls if known != url)][:KEPT]
        try:
            write_whole(self._path, msgspec.json.encode(self.urls))
        except OSError as error:
            log.warning("places.unwritten", extra={"why": str(error)})


class LadderPlaces:
    """Implements lookout.Places. `found_by` is the rung on which the box was found last."""

    def __init__(
        self,
        keys: TillKeys,
        known: KnownPlaces,
        interfaces: Sequence[str],
        locator: Locator | None,
        manual: str | None,
        lang: Lang,
        tell: Tell,
    ) -> None:
        self._keys = keys
        self._known = known
        self._interfaces = interfaces
        self._locator = locator
        self._manual = manual
        self._lang = lang
        self._tell = tell
        self._told: set[Tried] = set()
        self._nowhere: NotFound | None = None
        self._heard: dict[str, Found] = {}
        self.found_by: Rung = "last"

    async def find(self, last: str | None, prove: Prove) -> Met | None:
        """Climb until the box proves itself; the whole ladder takes 15 s at most."""
        tried: list[Tried] = []
        rungs = self._rungs(last)
        for rung, look in rungs.items():
            async with _Climb(rung, prove, tried) as climb:
                met = await look(climb)
            self._tell_tried(tried)
            if met is not None:
                self.found_by = rung
                self._told.clear()
                self._nowhere = None
                await asyncio.to_thread(self._known.keep, met.box.base)
                return met
        self._tell_nowhere(list(rungs), tried)
        return None

    def _rungs(self, last: str | None) -> dict[Rung, Callable[["_Climb"], Awaitable[Met | None]]]:
        """Those that there is something to look at on."""
        known = list(dict.fromkeys([*([] if last is None else [last]), *self._known.urls]))
        told = [f"https://{place}" for place in self._keys.paired.addresses[:LISTED]]
        listed = [url for url in told if url not in known]
        rungs: dict[Rung, Callable[[_Climb], Awaitable[Met | None]]] = {}
        if known:
            rungs["last"] = lambda climb: climb.look_at(known, PROOF_S)
        rungs["mdns"] = self._announced
        if listed:
            rungs["list"] = lambda climb: climb.look_at(listed, LIST_S, at_once=AT_ONCE)
        if self._locator is not None:
            locator = self._locator
            rungs["locator"] = lambda climb: self._located(climb, locator)
        if self._manual is not None:
            given = self._manual
            rungs["manual"] = lambda climb: climb.look_at([given], PROOF_S)
        return rungs

    async def _announced(self, climb: "_Climb") -> Met | None:
        climb.more = True
        searching = asyncio.create_task(self._hear(climb), name="search")
        try:
            return await climb.first(SEARCH_S)
        finally:
            searching.cancel()
            await asyncio.gather(searching, return_exceptions=True)

    async def _hear(self, climb: "_Climb") -> None:
        try:
            async with browsing(self._interfaces) as boxes:
                while True:
                    found = await boxes.get()
                    if self._heard.get(found.box) != found and len(self._heard) < LOOKS_MAX:
                        self._heard[found.box] = found
                        self._tell(Discovered.of(found))
                    # Another box may be there in the place of ours; one that has no shop is certainly not.
                    if found.state != "unclaimed":
                        for place in found.places:
                            climb.start(f"https://{place}")
        except OSError as error:
            log.warning("discovery.failed", extra={"error": str(error)})
            climb.end()

    async def _located(self, climb: "_Climb", locator: Locator) -> Met | None:
        try:
            async with asyncio.timeout(LOCATE_S):
                located = await locator.locate(self._keys.paired)
        except (NoAnswer, Refused, TimeoutError) as error:
            log.info("locator.no_answer", extra={"error": str(error)})
            climb.note(locator.base, "no-answer")
            return None
        return await climb.look_at([f"https://{place}" for place in located.places[:LISTED]], PROOF_S)

    def _tell_tried(self, tried: Iterable[Tried]) -> None:
        for line in tried:
            if line.outcome != "found" and line not in self._told:
                self._told.add(line)
                self._tell(line)

    def _tell_nowhere(self, rungs: Sequence[Rung], tried: Sequence[Tried]) -> None:
        outcomes = {line.outcome for line in tried}
        line = NotFound(list(rungs), not_found(rungs, outcomes, self._lang))
        if line != self._nowhere:
            self._nowhere = line
            self._tell(line)


class _Climb:
    """Looks at the addresses of one rung, side by side; leaving the block ends the looks that still run."""

    def __init__(self, rung: Rung, prove: Prove, tried: list[Tried]) -> None:
        self._rung = rung
        self._prove = prove
        self._tried = tried
        self._looks: dict[str, asyncio.Task[None]] = {}
        self._results: asyncio.Queue[Look | None] = asyncio.Queue()
        self._turns = asyncio.Semaphore(LOOKS_MAX)
        self._won = False
        # Whether looks may still begin while somebody waits for the first.
        self.more = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for look in self._looks.values():
            look.cancel()
        await asyncio.gather(*self._looks.values(), return_exceptions=True)

    def note(self, url: str, outcome: Outcome) -> None:
        """What came of looking there."""
        self._tried.append(Tried(self._rung, url, outcome))

    def start(self, url: str) -> None:
        """Begin to look there, unless that has begun before."""
        if url not in self._looks and len(self._looks) < LOOKS_MAX:
            self._looks[url] = asyncio.create_task(self._look(url), name=f"look-{self._rung}")

    async def look_at(self, urls: Sequence[str], within_s: float, *, at_once: int = LOOKS_MAX) -> Met | None:
        """The box at one of these addresses."""
        self._turns = asyncio.Semaphore(at_once)
        for url in urls:
            self.start(url)
        return await self.first(within_s)

    def end(self) -> None:
        """No more looks will begin."""
        self.more = False
        self._results.put_nowait(None)

    async def first(self, within_s: float) -> Met | None:
        """The box, as soon as a look finds it; None once all have ended in vain, or it takes too long."""
        ended = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self.more or ended < len(self._looks):
                    if (look := await self._results.get()) is None:
                        continue
                    ended += 1
                    if look.met is not None:
                        self._won = True
                        return look.met
        return None

    async def _look(self, url: str) -> None:
        look = Look(None, "no-answer")
        async with self._turns:
            try:
                async with asyncio.timeout(PROOF_S):
                    look = await self._prove(url)
            except TimeoutError:
                pass
            except (ConfigError, OSError):
                # Our own disk: what the box said could not be kept.
                log.exception("look.failed", extra={"url": url})
            finally:
                # A look that ends because another one found the box says nothing of its address.
                if look.met is not None or not self._won:
                    self.note(url, look.outcome)
                self._results.put_nowait(look)

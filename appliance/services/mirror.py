"""Keep the mirror of the catalogue as new as the line allows.

A failure of any kind (no line, a damaged transfer, a full disk) leaves the catalogue as it was; its age tells. Here a
catalogue is fetched, applied and told of; what is applied, and how, stands in storage/mirror.py.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from appliance.domain.errors import CannotAccept, SnapshotRequired, StoreboxError
from appliance.domain.event import ClockReading
from appliance.domain.wire import CatalogueView
from appliance.runtime.clock import Clock, rfc3339
from appliance.services.feed import Feed
from appliance.services.ports import Cloud, Recorder
from appliance.storage.mirror import Confirmation, Mirror
from appliance.storage.mirror_load import Applied

log = logging.getLogger(__name__)

TOPIC = "catalogue"
# The age when it cannot be known: so old that nobody takes it for fresh.
AGE_UNKNOWN_S = 10 * 365 * 86_400.0
# Full jitter downwards only: 400 shops that were switched on together must not ask together.
JITTER = (0.75, 1.0)
# After a failure, doubled each time up to the poll: a damaged snapshot fetched in a row eats a mobile contract.
RETRY_S = 5.0
# The same trouble is logged again after this long.
LOG_AGAIN_S = 3_600.0


class MirrorKeeper:
    """Fetches, applies and announces catalogues, and knows how fresh the one here is.

    `poll_s` tells how long to rest now, by the shop's rhythm.
    """

    def __init__(
        self,
        mirror: Mirror,
        cloud: Cloud,
        feed: Feed,
        recorder: Recorder,
        clock: Clock,
        rng: random.Random,
        incoming: Path,
        poll_s: Callable[[], float],
        admit: Callable[[], None] = lambda: None,
    ) -> None:
        self._mirror = mirror
        self._cloud = cloud
        self._feed = feed
        self._recorder = recorder
        self._clock = clock
        self._rng = rng
        self._incoming = incoming
        self._poll_s = poll_s
        self._admit = admit
        self._confirmed = mirror.confirmed
        self._wake = asyncio.Event()
        self._sound = True
        self._unrecorded: Applied | None = None
        self._failures = 0
        self._logged: tuple[str, float] | None = None

    @property
    def age_s(self) -> float:
        """Seconds since the cloud last said that the version here is current; AGE_UNKNOWN_S when that is not known.

        Within one boot the monotonic clock tells, whatever the wall clock did. Across boots only a wall clock that a
        trusted source has confirmed since counts: a box without a battery clock wakes up in the past, and would say
        that its prices are fresh.
        """
        now = self._clock.reading()
        return AGE_UNKNOWN_S if self._confirmed is None else _age_s(self._confirmed, now, self._clock.wall())

    def nudge(self, version: int) -> None:
        """The cloud says which version is current: confirms the one here, or wakes the loop to fetch another."""
        if version != self._mirror.version:
            self._wake.set()
        elif self._sound and version > 0:
            self._confirmed = _confirmation(self._clock)

    async def run(self) -> None:
        """Keep at it until cancelled. A mirror in trouble is no reason to stop a box that sells."""
        begun = False
        while True:
            self._wake.clear()
            try:
                if not begun:
                    await self._begin()
                    begun = True
                await self.step()
            except (StoreboxError, OSError) as error:
                self._note(error)
                await self._clock.sleep(self._rng.uniform(*JITTER) * self._retry_s())
            else:
                self._failures, self._logged = 0, None
                await self._nudged_or(self._rng.uniform(*JITTER) * self._poll_s())

    async def _begin(self) -> None:
        self._feed.publish(TOPIC, CatalogueView(self._mirror.version))
        self._sound = await self._mirror.verify()
        if not self._sound:
            log.error("catalogue.rotten", extra={"version": self._mirror.version})

    async def step(self) -> None:
        """Fetch what is new and apply it. Raises what the cloud, the transfer or the disk brings."""
        await self._record()
        # The moment of the question: the answer may take minutes, and is no newer than that for sure.
        asked = _confirmation(self._clock)
        try:
            applied = await self._fetch(
                self._mirror.version if self._sound and self._mirror.version else None
            )
        except SnapshotRequired:
            applied = await self._fetch(None)
        self._confirmed = asked
        await self._mirror.confirm(asked)
        if applied.since == applied.state.version:
            return
        self._feed.publish(TOPIC, CatalogueView(applied.state.version))
        self._unrecorded = applied
        await self._record()

    async def _fetch(self, since: int | None) -> Applied:
        self._admit()
        await self._cloud.fetch_catalogue(since, self._incoming)
        try:
            applied = await self._mirror.apply(self._incoming, anew=not self._sound)
        finally:
            await asyncio.to_thread(self._incoming.unlink, missing_ok=True)
        self._sound = True
        return applied

    async def _record(self) -> None:
        """Write the last catalogue into the chain. A journal that cannot take it now is asked again next time."""
        if self._unrecorded is None:
            return
        since, _, changed, state = self._unrecorded
        data = {
            "version": state.version,
            "since": since,
            "articles": state.articles,
            "changed": changed,
            "digest": state.digest,
        }
        try:
            await self._recorder.record("catalogue_applied", data)
        except CannotAccept as error:
            log.warning("catalogue.unrecorded", extra={"version": state.version, "detail": str(error)})
        else:
            self._unrecorded = None
            log.info("catalogue.applied", extra=data)

    def _retry_s(self) -> float:
        return min(self._poll_s(), RETRY_S * 2.0 ** min(self._failures - 1, 16))

    def _note(self, error: Exception) -> None:
        self._failures += 1
        code, now_s = getattr(error, "code", type(error).__name__), self._clock.monotonic()
        if self._logged and self._logged[0] == code and now_s - self._logged[1] < LOG_AGAIN_S:
            return
        self._logged = (code, now_s)
        log.warning(
            "catalogue.not_refreshed", extra={"code": code, "detail": str(error), "age_s": self.age_s}
        )

    async def _nudged_or(self, seconds: float) -> None:
        async with asyncio.TaskGroup() as group:
            nudged = group.create_task(self._wake.wait(), name="catalogue.nudged")
            rested = group.create_task(self._clock.sleep(seconds), name="catalogue.rested")
            await asyncio.wait((nudged, rested), return_when=asyncio.FIRST_COMPLETED)
            nudged.cancel()
            rested.cancel()


def _confirmation(clock: Clock) -> Confirmation:
    now = clock.reading()
    return Confirmation(rfc3339(clock.wall()), now.boot, now.mono_ns)


def _age_s(confirmed: Confirmation, now: ClockReading, wall: datetime) -> float:
    if now.boot == confirmed.boot:
        return (now.mono_ns - confirmed.mono_ns) / 1e9
    age_s = (wall - datetime.fromisoformat(confirmed.at)).total_seconds()
    # A time to come was written by a clock that was wrong then.
    return age_s if now.quality == "synced" and age_s >= 0 else AGE_UNKNOWN_S

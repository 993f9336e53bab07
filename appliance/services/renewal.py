"""Have the box's certificates renewed at half of their life, or at once when head office says that they have ended.

The proof is the enrolled event key alone, so a box that was off for more than a certificate's life comes back by
itself. When the half is reached is judged by trusted time: a wall clock that lies renews nothing.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from appliance.domain.enrolling import RenewAnswer
from appliance.domain.errors import BadSignature, CannotAccept, CloudError
from appliance.domain.link import LinkState
from appliance.runtime.clock import rfc3339
from appliance.runtime.pause import pause
from appliance.runtime.trusted_time import TrustedClock
from appliance.services.ports import IdentityCloud, Recorder
from appliance.services.wan import WanWatch

log = logging.getLogger(__name__)

# At half of the life, a tenth of it earlier or later: a chain that was enrolled in one week does not renew in one hour.
HALF, JITTER = 0.5, 0.1
LOOK_EVERY_S = 3_600.0
RETRY_S = 60.0


class Certified(Protocol):
    """The box's certificates."""

    def lasts(self) -> tuple[datetime, datetime] | None:
        """From when until when the certificate holds; None: there is none. Blocks."""
        ...

    def renewal_request(self) -> bytes:
        """The envelope that asks for new ones. Blocks."""
        ...

    def keep_renewal(self, answer: RenewAnswer) -> datetime:
        """Keep them; the time that the answer proves. Raises BadSignature. Blocks."""
        ...

    def tell_renewed(self) -> None:
        """Tell others that they are new; never waits."""
        ...


class Renewal:
    """The loop that renews. `wear` makes later connections show the new certificate; it blocks."""

    def __init__(
        self,
        papers: Certified,
        wear: Callable[[], None],
        cloud: IdentityCloud,
        wan: WanWatch,
        recorder: Recorder,
        time: TrustedClock,
        rng: random.Random,
    ) -> None:
        self._papers = papers
        self._wear = wear
        self._cloud = cloud
        self._wan = wan
        self._recorder = recorder
        self._time = time
        self._share = HALF + rng.uniform(-JITTER, JITTER)
        self._wake = asyncio.Event()
        self._ended = False
        self._until: datetime | None = None
        wan.listen(lambda _: self._wake.set())

    def nudge(self) -> None:
        """Head office says that the certificate has ended: it knows the time."""
        if not self._ended:
            self._ended = True
            self._wake.set()

    def left_s(self) -> float | None:
        """How long the certificate still holds; None when there is none, or before the first look."""
        return None if self._until is None else (self._until - self._time.now()).total_seconds()

    async def run(self) -> None:
        """Renew for ever. Without a certificate there is nothing to do."""
        while True:
            done = await self.step()
            await pause(self._time, LOOK_EVERY_S if done else RETRY_S, self._wake)

    async def step(self) -> bool:
        """Renew if it is time; False when it is, and did not succeed."""
        lasts = await asyncio.to_thread(self._papers.lasts)
        if lasts is None:
            return True
        begins, self._until = lasts
        due = begins + (self._until - begins) * self._share
        if not self._ended and self._time.now() < due:
            return True
        if not self._ended and self._wan.link.state is LinkState.OFFLINE:
            return False
        try:
            request = await asyncio.to_thread(self._papers.renewal_request)
            answer = await self._cloud.renew(request)
            self._time.confirm(await asyncio.to_thread(self._papers.keep_renewal, answer))
        except (CloudError, BadSignature, OSError) as error:
            log.warning("certificate.not_renewed", extra={"why": str(error)})
            return False
        self._ended = False
        await asyncio.to_thread(self._wear)
        self._papers.tell_renewed()
        await self._tell()
        return True

    async def _tell(self) -> None:
        lasts = await asyncio.to_thread(self._papers.lasts)
        assert lasts is not None  # just stored
        self._until = lasts[1]
        log.info("certificate.renewed", extra={"until": rfc3339(lasts[1])})
        try:
            await self._recorder.record("certificate_renewed", {"until": rfc3339(lasts[1])})
        except CannotAccept as error:
            log.error("certificate.unrecorded", extra={"why": str(error)})

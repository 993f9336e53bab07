"""From unclaimed to enrolled: take one claim, and try it until head office says yes or no.

What is tried is on disk before it is sent, so a power cut changes nothing: the same request goes out again, and head
office gives the same answer. Only a clear no of head office ends it.
"""

import asyncio
import logging
import random
from datetime import datetime
from typing import Protocol

from appliance.domain.enrolling import Claim, ClaimState, EnrolAnswer, read_claim
from appliance.domain.errors import (
    BadSignature,
    ClaimPending,
    ClaimRefused,
    CloudRefused,
    CloudUnreachable,
    ConfigError,
    Malformed,
    StoreboxError,
)
from appliance.runtime.clock import Clock

log = logging.getLogger(__name__)

# A technician stands beside it; and a claim lives ten minutes.
RETRY_BASE_S, RETRY_CAP_S = 1.0, 15.0


class Papers(Protocol):
    """The box's own files. All of it blocks."""

    def begin(self, claim: Claim) -> bytes:
        """The request with this claim, on disk; the same one when it was begun before."""
        ...

    def pending(self) -> Claim | None:
        """The claim that was begun."""
        ...

    def finish(self, cloud_url: str, answer: EnrolAnswer) -> datetime | None:
        """Be enrolled; the time that the answer proves. Raises BadSignature, ConfigError."""
        ...

    def abandon(self) -> None:
        """Forget the claim that was begun."""
        ...


class Office(Protocol):
    """Head office, for a box that is not of it yet."""

    async def enrol(self, claim: Claim, url: str, request: bytes) -> EnrolAnswer:
        """Exchange a request for an enrolment. Raises CloudUnreachable, CloudRefused."""
        ...


class Enroller:
    """Tries one claim at a time; `state` tells how far it is.

    `authority` is the pin of the only head office whose claims are taken ("": any). `url` is where head office is,
    whatever the claim says ("": as it says).
    """

    def __init__(
        self,
        papers: Papers,
        office: Office,
        clock: Clock,
        rng: random.Random,
        *,
        authority: str,
        url: str,
    ) -> None:
        self._papers = papers
        self._office = office
        self._clock = clock
        self._rng = rng
        self._authority = authority
        self._url = url
        self._begun = asyncio.Event()
        self._busy = False
        self.state = ClaimState("none")

    async def take(self, text: str) -> None:
        """Take a claim; it is on disk when this returns, and being tried.

        Raises Malformed, ClaimRefused (of another head office), ClaimPending (one is being tried, or has succeeded).
        """
        claim = read_claim(text)
        if self._authority not in ("", claim.pin):
            raise ClaimRefused("the claim is of another head office than this box belongs to")
        if self._busy or self.state.state == "enrolled":
            raise ClaimPending("a claim is being tried: ask again how it went")
        self._busy = True
        try:
            await asyncio.to_thread(self._papers.begin, claim)
        finally:
            self._busy = False
        self.state = ClaimState("trying")
        self._begun.set()

    async def run(self) -> EnrolAnswer:
        """Wait for a claim, also one from before a power cut, and return once the box is enrolled."""
        failures = 0
        while True:
            claim = await asyncio.to_thread(self._papers.pending)
            if claim is None:
                self._begun.clear()
                failures = 0
                await self._begun.wait()
                continue
            try:
                answer = await self.attempt(claim)
            except CloudUnreachable as error:
                failures += 1
                log.warning("enrolment.unanswered", extra={"why": str(error)})
                await self._clock.sleep(self._wait_s(failures))
            except StoreboxError as error:
                log.error("enrolment.refused", extra={"code": error.code, "why": str(error)})
            else:
                return answer

    async def attempt(self, claim: Claim) -> EnrolAnswer:
        """Try a claim once. Raises CloudUnreachable (it stays), else what ended it: the box is unclaimed then."""
        self._busy = True
        self.state = ClaimState("trying")
        url = self._url or claim.url
        try:
            request = await asyncio.to_thread(self._papers.begin, claim)
            answer = await self._office.enrol(claim, url, request)
            at = await asyncio.to_thread(self._papers.finish, url, answer)
            if at is not None:
                self._clock.confirm(at)
        except CloudUnreachable as error:
            self.state = ClaimState("trying", str(error))
            raise
        except (CloudRefused, BadSignature, ConfigError, Malformed) as error:
            await asyncio.to_thread(self._papers.abandon)
            self.state = ClaimState("refused", str(error))
            raise
        finally:
            self._busy = False
        self.state = ClaimState("enrolled")
        log.info("box.enrolled", extra={"box": answer.box, "shop": answer.shop})
        return answer

    def _wait_s(self, failures: int) -> float:
        return self._rng.uniform(0.5, 1.0) * min(RETRY_CAP_S, RETRY_BASE_S * 2.0 ** min(failures, 8))

"""The clocks of one machine in virtual time. `wall` may be off by years; `monotonic` starts anew at each boot."""

import asyncio
import math
import random
from datetime import UTC, datetime, timedelta

from appliance.domain.event import ClockQuality, ClockReading
from appliance.runtime.clock import AGREEMENT_S

# A Monday morning before the shop opens.
BEGINNING = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)

TICK_S = 1e-6
DAY_S = 86_400.0


def between(rng: random.Random, low_s: float, high_s: float) -> float:
    """A duration; each order of magnitude is as likely as the next."""
    return math.exp(rng.uniform(math.log(low_s), math.log(high_s)))


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)


class TrueTime:
    """Time as it is: head office has it, and tills nearly so. Implements `runtime.clock.Clock` on the running loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def wall(self) -> datetime:
        """True wall time."""
        return BEGINNING + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """Virtual seconds since the beginning."""
        return self._loop.time()

    def reading(self) -> ClockReading:
        """As a machine whose clock is set would say it."""
        return ClockReading("synced", "true", round(self.monotonic() * 1e9))

    def confirm(self, trusted: datetime) -> None:
        """It needs no confirmation."""

    async def sleep(self, seconds: float) -> None:
        """Virtual time passes: a little always, or a loop that rounding wakes too early would spin for ever."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = self._loop.create_future()
        timer = self._loop.call_later(max(seconds, TICK_S), _wake, woken)
        try:
            await woken
        finally:
            timer.cancel()


class MachineClock(TrueTime):
    """One boot of the box. `lead` is shared by all boots: how far its wall clock is ahead of true time."""

    def __init__(self, boot: str, lead: "Lead") -> None:
        super().__init__()
        self.boot = boot
        self._lead = lead
        self._booted_s = super().monotonic()
        self._quality: ClockQuality = "floor"
        self._confirmed_lead_s = 0.0

    def wall(self) -> datetime:
        """What the box believes."""
        return BEGINNING + timedelta(seconds=super().monotonic() + self._lead.seconds)

    def monotonic(self) -> float:
        """Seconds since this boot."""
        return super().monotonic() - self._booted_s

    def reading(self) -> ClockReading:
        """Quality, boot and monotonic time. As with the real clock, a step voids what was confirmed before it."""
        stepped = abs(self._lead.seconds - self._confirmed_lead_s) > AGREEMENT_S
        quality: ClockQuality = "unknown" if self._quality == "synced" and stepped else self._quality
        return ClockReading(quality, self.boot, round(self.monotonic() * 1e9))

    def confirm(self, trusted: datetime) -> None:
        """As the real clock: a trusted time that agrees makes it synced."""
        self._confirmed_lead_s = self._lead.seconds
        self._quality = "synced" if abs((self.wall() - trusted).total_seconds()) <= AGREEMENT_S else "unknown"


class Lead:
    """By how much the box's wall clock is wrong."""

    def __init__(self) -> None:
        self.seconds = 0.0

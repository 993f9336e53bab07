"""The only place that asks the machine for time or sleeps. Everything else is given a `Clock`.

Two clocks, never mixed: `wall` is data (a Pi boots in the past, and NTP steps it), `monotonic` measures durations.
"""

import asyncio
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from appliance.domain.event import ClockQuality, ClockReading

# A wall clock before this code was written has certainly not been set.
BUILT_AT = datetime(2026, 11, 1, tzinfo=UTC)
# A receipt's time may be this far from ours (it travelled) and still confirm our clock.
AGREEMENT_S = 120.0


class Clock(Protocol):
    """Time, as the code sees it."""

    def wall(self) -> datetime:
        """The wall clock, aware, in UTC. May be wrong and may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow, from an arbitrary start."""
        ...

    def reading(self) -> ClockReading:
        """What goes into an event: quality of the wall clock, boot id, monotonic nanoseconds."""
        ...

    def confirm(self, trusted: datetime) -> None:
        """Tell of a time from a trusted source, just heard: it decides the wall clock's quality."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait that long by the monotonic clock."""
        ...


def rfc3339(instant: datetime) -> str:
    """An aware instant as RFC 3339 in UTC with milliseconds, e.g. 2026-11-22T08:30:00.123Z."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


class SystemClock:
    """The machine's clocks."""

    def __init__(self, boot_id_file: Path = Path("/proc/sys/kernel/random/boot_id")) -> None:
        self.boot = _boot_id(boot_id_file)
        self._told = False
        # How far the wall clock ran ahead of the monotonic one when a trusted time agreed with it; None: it did not.
        self._agreed_lead_s: float | None = None

    def wall(self) -> datetime:
        """The machine's wall clock."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """The machine's monotonic clock."""
        return time.monotonic()

    def reading(self) -> ClockReading:
        """Quality, boot id and monotonic time right now."""
        return ClockReading(self._quality(), self.boot, time.monotonic_ns())

    def confirm(self, trusted: datetime) -> None:
        """Compare the wall clock with a trusted time. A later step of the wall clock voids the agreement."""
        agrees = abs((self.wall() - trusted).total_seconds()) <= AGREEMENT_S
        self._told = True
        self._agreed_lead_s = self._lead_s() if agrees else None

    async def sleep(self, seconds: float) -> None:
        """asyncio's sleep."""
        await asyncio.sleep(seconds)

    def _quality(self) -> ClockQuality:
        if self._agreed_lead_s is not None and abs(self._lead_s() - self._agreed_lead_s) <= AGREEMENT_S:
            return "synced"
        return "floor" if not self._told and self.wall() >= BUILT_AT else "unknown"

    def _lead_s(self) -> float:
        return self.wall().timestamp() - self.monotonic()


def _boot_id(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        # Not Linux: one id per process still tells runs apart.
        return str(uuid.uuid4())

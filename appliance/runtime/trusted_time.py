"""Time that an attacker of the wall clock cannot turn back: a floor from signed statements, kept over restarts.

The floor is the latest time that a trusted source has named (`confirm`), or this code's own date, and grows with the
monotonic clock. The true time is never before it. The wall clock is believed upwards only while a trusted source
agrees with it.
"""

import asyncio
import logging
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import msgspec

from appliance.domain.event import ClockReading
from appliance.runtime.clock import BUILT_AT, Clock, rfc3339
from appliance.runtime.files import write_whole

log = logging.getLogger(__name__)

# The file is written anew only when it is this far behind: flash wears.
SAVE_EVERY = timedelta(hours=1)

_Aware = Annotated[datetime, msgspec.Meta(tz=True)]


class TrustedClock:
    """Implements runtime.clock.Clock over another one. Reads its file when made (blocks); None: keeps nothing."""

    def __init__(self, inner: Clock, floor_file: Path | None) -> None:
        self._inner = inner
        self._file = floor_file
        self._saved = BUILT_AT if floor_file is None else _read(floor_file)
        # Told by the loop, asked by whoever shakes hands: the two belong together.
        self._lock = threading.Lock()
        self._floor, self._floor_at_s = self._saved, inner.monotonic()

    def wall(self) -> datetime:
        """The wall clock as it is: data, not to be judged by."""
        return self._inner.wall()

    def monotonic(self) -> float:
        """See Clock."""
        return self._inner.monotonic()

    def reading(self) -> ClockReading:
        """See Clock; a wall clock below the floor has certainly not been set."""
        reading = self._inner.reading()
        if reading.quality == "floor" and self.wall() < self._earliest():
            return msgspec.structs.replace(reading, quality="unknown")
        return reading

    def confirm(self, trusted: datetime) -> None:
        """See Clock; raises the floor, too, and never sinks it."""
        self._inner.confirm(trusted)
        with self._lock:
            now_s = self._inner.monotonic()
            if trusted > self._earliest_at(now_s):
                self._floor, self._floor_at_s = trusted, now_s

    async def sleep(self, seconds: float) -> None:
        """See Clock."""
        await self._inner.sleep(seconds)

    def now(self) -> datetime:
        """The best estimate of the time; never below the floor."""
        earliest = self._earliest()
        return earliest if self.reading().quality == "unknown" else max(earliest, self.wall())

    def span(self) -> tuple[datetime, datetime | None]:
        """Between which instants now certainly is; None: nobody knows how late it is."""
        earliest = self._earliest()
        synced = self._inner.reading().quality == "synced"
        return earliest, max(earliest, self.wall()) if synced else None

    async def run(self) -> None:
        """Write the floor down for ever, now and then."""
        while True:
            await self.sleep(SAVE_EVERY.total_seconds())
            await asyncio.to_thread(self.save)

    def save(self, *, at_stop: bool = False) -> None:
        """Write the floor down when it has moved enough, at a stop in any case. Blocks; a full disk is no error."""
        earliest = self._earliest()
        ahead = earliest - self._saved
        if self._file is None or not (ahead >= SAVE_EVERY or (at_stop and ahead > timedelta())):
            return
        try:
            write_whole(self._file, rfc3339(earliest).encode())
            self._saved = earliest
        except OSError as error:
            log.warning("time.floor_unwritten", extra={"why": str(error)})

    def _earliest(self) -> datetime:
        with self._lock:
            return self._earliest_at(self._inner.monotonic())

    def _earliest_at(self, now_s: float) -> datetime:
        return self._floor + timedelta(seconds=now_s - self._floor_at_s)


def _read(file: Path) -> datetime:
    """The floor in a file. A lost one is no reason not to sell: what is trusted then is this code's own date."""
    try:
        return max(BUILT_AT, msgspec.convert(file.read_text().strip(), _Aware).astimezone(UTC))
    except FileNotFoundError:
        return BUILT_AT
    except (OSError, ValueError) as error:
        log.warning("time.floor_unreadable", extra={"file": str(file), "why": str(error)})
        return BUILT_AT

"""After the daemon could not start for a while: tell it once it can, and forget it once it has run steadily.

While it could not, `systemd/libexec/escalate` has kept a list beside the journal: a line for each reboot that it asked
for and for each boot in which it gave up. The list is what stops it from rebooting for ever: it may go only when all is
well.
"""

import asyncio
import logging
from pathlib import Path

from appliance.domain.errors import CannotAccept
from appliance.runtime.clock import Clock
from appliance.services.ports import Recorder

log = logging.getLogger(__name__)

# Longer than the unit counts starts (StartLimitIntervalSec=): who crashes as often as is allowed stays on the list.
STEADY_S = 900.0


class Aftermath:
    """`read` before `issues` and `run`."""

    def __init__(self, path: Path, recorder: Recorder, clock: Clock) -> None:
        self._path = path
        self._recorder = recorder
        self._clock = clock
        self._there = False

    def issues(self) -> list[str]:
        """`failed-starts` until the box has run steadily again."""
        return ["failed-starts"] if self._there else []

    async def run(self) -> None:
        """Tell what is on the list, and remove it in time; then rest for ever."""
        await self.tell()
        await self._clock.sleep(STEADY_S)
        await asyncio.to_thread(self._path.unlink, missing_ok=True)
        self._there = False
        await asyncio.Event().wait()

    async def tell(self) -> None:
        """Record in the journal what happened, if anything did."""
        lines = await asyncio.to_thread(_lines, self._path)
        self._there = bool(lines)
        if not lines:
            return
        data = {name: sum(line.startswith(f"{name} ") for line in lines) for name in ("reboot", "degraded")}
        log.error("box.starts_failed", extra=data)
        try:
            await self._recorder.record(
                "starts_failed", {"reboots": data["reboot"], "degraded": data["degraded"]}
            )
        except CannotAccept as error:
            log.error("box.starts_unrecorded", extra={"why": str(error)})


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []

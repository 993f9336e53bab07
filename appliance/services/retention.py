"""Free the oldest events once shops no longer need them: receipted, old enough, in idle moments, a few at a time."""

import logging
from datetime import timedelta

from appliance.domain.errors import BadSignature, CannotAccept, ChainFault
from appliance.runtime.clock import Clock
from appliance.storage.journal import Journal

log = logging.getLogger(__name__)

# Nothing hangs on the hour at which an event leaves.
LOOK_EVERY_S = 3_600.0
# So few that a sale which comes meanwhile waits for little more than the fsync it would have waited for anyway.
CHUNK_EVENTS = 32
# An idle moment: nothing was appended for so long.
IDLE_S = 1.0
# A shop that never rests must not fill its card: then a chunk goes between two sales all the same.
IDLE_WAITS_MAX = 60


class Retention:
    """The loop that prunes. `stopped` says why it no longer does: what would go is not what this box wrote."""

    def __init__(self, journal: Journal, clock: Clock, keep_days: int) -> None:
        self._journal = journal
        self._clock = clock
        self._keep = timedelta(days=keep_days)
        self.pruned = 0
        self.stopped: str | None = None

    async def run(self) -> None:
        """Prune for ever; once stopped, only wait."""
        while True:
            await self._idle()
            while self.stopped is None and await self.step():
                await self._idle()
            await self._clock.sleep(LOOK_EVERY_S)

    async def step(self) -> bool:
        """Free one chunk; False when nothing more may go now.

        Nothing goes while the wall clock is not confirmed: one that jumped ahead would make everything look old.
        """
        if self._clock.reading().quality != "synced":
            return False
        try:
            gone = await self._journal.prune(self._clock.wall() - self._keep, CHUNK_EVENTS)
        except (ChainFault, BadSignature) as fault:
            self.stopped = str(fault)
            log.error("retention.stopped", extra={"code": fault.code, "detail": str(fault)})
            return False
        except CannotAccept as error:
            # Told on every surface already; what is too old today is still too old in an hour.
            log.warning("retention.put_off", extra={"why": str(error)})
            return False
        if gone:
            self.pruned += gone
            log.info("retention.pruned", extra={"events": gone})
        return gone > 0

    async def _idle(self) -> None:
        for _ in range(IDLE_WAITS_MAX):
            before = self._journal.end
            await self._clock.sleep(IDLE_S)
            if self._journal.end == before:
                return

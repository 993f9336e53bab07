"""When a checkpoint of the journal is due: what stands in the WAL alone, counted, and when it would disturb nobody."""

import asyncio

from appliance.runtime.clock import Clock

# Events between checkpoints: about 200 WAL pages when they come singly; a flipped bit in the WAL costs its tail.
CHECKPOINT_EVENTS = 64
# A checkpoint costs two fsyncs during which no sale is acked: it waits for a moment in which none comes, but not
# beyond so many groups or events. A group takes three pages of the WAL at least: some 12 MB at most.
CHECKPOINT_IDLE_S = 0.05
CHECKPOINT_GROUPS_MAX = 1_024
CHECKPOINT_EVENTS_MAX = 4_096


class Unchecked:
    """Events and groups since the last checkpoint that copied everything."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._events = self._groups = 0
        self._due = asyncio.Event()
        self._written_s = 0.0

    @property
    def overdue(self) -> bool:
        """It cannot wait for an idle moment."""
        return self._events >= CHECKPOINT_EVENTS_MAX or self._groups >= CHECKPOINT_GROUPS_MAX

    def add(self, events: int) -> None:
        """A transaction wrote so many events, or took them away."""
        self._events += events
        self._groups += 1
        self._written_s = self._clock.monotonic()
        if self._events >= CHECKPOINT_EVENTS:
            self._due.set()

    def clear(self) -> None:
        """All of it was copied."""
        self._events = self._groups = 0
        self._due.clear()

    async def idle_moment(self) -> None:
        """Wait until a checkpoint is due and nothing was written for a while.

        For one task: a timer that each group sets and stops would be a tenth of what a sale alone costs.
        """
        while True:
            await self._due.wait()
            rest_s = self._written_s + CHECKPOINT_IDLE_S - self._clock.monotonic()
            if rest_s <= 0:
                self._due.clear()
                return
            await self._clock.sleep(rest_s)

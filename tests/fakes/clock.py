"""A clock whose time passes only when the test says so."""

import asyncio
import gc
import heapq
import inspect
import itertools
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import aiosqlite

from appliance.domain.event import ClockQuality, ClockReading
from appliance.runtime.clock import AGREEMENT_S
from appliance.runtime.one_thread import Answer

# A Sunday in November: every shop of the chain is open.
OPENING = datetime(2026, 11, 22, 8, 30, tzinfo=UTC)
# Quiet turns of the loop in a row that count as quiet: what a turn sends over loopback is read in the next one.
QUIET_TURNS = 3
# A loop that is still busy after so many turns spins without ever waiting.
TURNS_MAX = 100_000
# Where aiosqlite waits for its thread.
QUEUED = aiosqlite.Connection._execute.__code__


class FakeClock:
    """Implements `runtime.clock.Clock`. Wall and monotonic time advance together, and the wall can also jump alone.

    Time stands still until `advance` or `run_until`. Sleepers wake one by one in the order of their due times, and
    between two of them everything that can run without time does run: callbacks, I/O on loopback, work in threads.
    """

    def __init__(
        self,
        wall: datetime = OPENING,
        monotonic_s: float = 1_000.0,
        *,
        quality: ClockQuality = "synced",
        boot: str = "boot-1",
    ) -> None:
        self.quality: ClockQuality = quality
        self.boot = boot
        self.confirmed: list[datetime] = []
        self._wall = wall
        self._monotonic_s = monotonic_s
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def wall(self) -> datetime:
        return self._wall

    def monotonic(self) -> float:
        return self._monotonic_s

    def reading(self) -> ClockReading:
        return ClockReading(self.quality, self.boot, round(self._monotonic_s * 1e9))

    def confirm(self, trusted: datetime) -> None:
        """Remember the time told, in `confirmed`; the quality follows as with the real clock."""
        self.confirmed.append(trusted)
        agrees = abs((self._wall - trusted).total_seconds()) <= AGREEMENT_S
        self.quality = "synced" if agrees else "unknown"

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic_s + seconds, next(self._order), woken))
        await woken

    @property
    def sleeping(self) -> int:
        """How many tasks sleep right now (call `settle` first: one that has just started may not sleep yet)."""
        return sum(not woken.done() for _, _, woken in self._sleepers)

    @property
    def next_due_s(self) -> float | None:
        """Seconds until the first sleeper wakes; None when nobody sleeps."""
        due_s = self._next_due_s()
        return None if due_s is None else due_s - self._monotonic_s

    def jump_wall(self, by: timedelta) -> None:
        """Step the wall clock alone, as NTP or a technician does; no sleeper notices."""
        self._wall += by

    def set_wall(self, to: datetime) -> None:
        """Set the wall clock alone."""
        self._wall = to

    def reboot(self, boot: str, *, wall: datetime | None = None, monotonic_s: float = 10.0) -> None:
        """Start the machine anew: another boot id, monotonic time from the start, the wall where it is or told."""
        assert self.sleeping == 0, "a task sleeps through the reboot"
        self.boot = boot
        self._monotonic_s = monotonic_s
        self._wall = wall or self._wall

    async def advance(self, seconds: float) -> None:
        """Let that much time pass, waking all who are due on the way, also those who fall asleep meanwhile."""
        until_s = self._monotonic_s + seconds
        await self.settle()
        while (due_s := self._next_due_s()) is not None and due_s <= until_s:
            self._wake(due_s)
            await self.settle()
        self._pass(until_s)

    async def run_until(
        self, done: Callable[[], object] | asyncio.Future[Any], *, within_s: float = 86_400.0
    ) -> None:
        """Let time pass, from sleeper to sleeper, until a condition holds or a task is done."""
        reached = done.done if isinstance(done, asyncio.Future) else done
        until_s = self._monotonic_s + within_s
        await self.settle()
        while not reached():
            due_s = self._next_due_s()
            assert due_s is not None, "nobody sleeps, so waiting longer changes nothing"
            assert due_s <= until_s, f"not reached within {within_s} s"
            self._wake(due_s)
            await self.settle()

    async def settle(self) -> None:
        """Run the loop until all that is left waits for time (or for something that the test must bring).

        Work in threads (a database's writer) is waited for. Bytes on loopback are read as far as they have come.
        """
        loop = asyncio.get_running_loop()
        # The loop's own queue of callbacks: the only way to see, without guessing, that nothing is left to run.
        ready = cast("deque[asyncio.Handle]", vars(loop)["_ready"])
        quiet = 0
        for _ in range(TURNS_MAX):
            await asyncio.sleep(0)
            quiet = quiet + 1 if not ready else 0
            if quiet < QUIET_TURNS:
                continue
            threads = [
                waiter for task in asyncio.all_tasks() if (waiter := _thread_waited_for(task)) is not None
            ]
            if not threads:
                return
            await asyncio.wait(threads, return_when=asyncio.FIRST_COMPLETED)
            quiet = 0
        busy = ", ".join(sorted(task.get_name() for task in asyncio.all_tasks()))
        raise AssertionError(f"the loop never comes to rest; tasks: {busy}")

    def _next_due_s(self) -> float | None:
        while self._sleepers and self._sleepers[0][2].done():  # its task was cancelled
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def _wake(self, due_s: float) -> None:
        self._pass(due_s)
        heapq.heappop(self._sleepers)[2].set_result(None)

    def _pass(self, to_s: float) -> None:
        self._wall += timedelta(seconds=max(0.0, to_s - self._monotonic_s))
        self._monotonic_s = max(self._monotonic_s, to_s)


def _thread_waited_for(task: asyncio.Task[Any]) -> asyncio.Future[Any] | None:
    """The future through which a task waits for a thread, if it does.

    Such futures are chained to one of a thread (executors), are `OneThread`'s, or are awaited inside aiosqlite, whose
    threads set them.
    """
    waiter = getattr(task, "_fut_waiter", None)
    callbacks = getattr(waiter, "_callbacks", None) or ()
    chained = any("_chain_future" in getattr(callback, "__qualname__", "") for callback, _ in callbacks)
    chained = chained or isinstance(waiter, Answer)
    return cast("asyncio.Future[Any]", waiter) if chained or _is_inside_aiosqlite(task) else None


def _is_inside_aiosqlite(task: asyncio.Task[Any]) -> bool:
    awaited: Any = task.get_coro()
    while awaited is not None:
        # A connection's own methods hand out `coroutine.__await__()`, which hides what is inside, and of all we await
        # only they do; a cursor's show it.
        if type(awaited).__name__ == "coroutine_wrapper" or getattr(awaited, "cr_code", None) is QUEUED:
            return True
        awaited = _awaited_by(awaited)
    return False


def _awaited_by(awaited: Any) -> Any:
    """What a coroutine or an asynchronous generator (an `async with` of ours) waits for; None at the innermost."""
    if type(awaited).__name__ == "async_generator_asend":
        # A step of a generator does not tell whose it is, except to the garbage collector.
        return next(filter(inspect.isasyncgen, gc.get_referents(awaited)), None)
    return getattr(awaited, "ag_await" if inspect.isasyncgen(awaited) else "cr_await", None)

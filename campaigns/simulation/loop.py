"""An event loop in virtual time: nobody waits, idle time is skipped, and the same seed gives the same run.

When nothing is left to do at this moment the clock goes straight to the next timer; no system call is made, no
descriptor is ever ready. Timers of one moment run in the order in which they were set. Work for threads is run by
whoever `jobs` names in the context of the caller (a machine with a card), at a virtual time of its own and right on
the loop: so the product's code runs unchanged, and there is no thread whose turn could fall out differently.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import Context, ContextVar
from itertools import count
from typing import Any, Protocol, TypeVar

Result = TypeVar("Result")


class Jobs(Protocol):
    """A machine that runs work meant for threads."""

    def latency_s(self, executor: Executor | None) -> float:
        """When the job that is handed in now is done, in seconds from now."""
        ...

    def run(self, job: Callable[[], Any]) -> Any:
        """Do it; what it raises is raised to whoever waits."""
        ...


jobs: ContextVar[Jobs | None] = ContextVar("jobs", default=None)


class Deadlock(Exception):
    """Everybody waits, and nobody waits for time."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """`loop.time()` is virtual and starts at 0. Instead of asyncio's own turn of the loop, one without a selector."""

    _ready: deque[asyncio.Handle]

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._set = count()

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now_s

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """As ever, without the questions that asyncio asks first."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As ever, into a heap of our own."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._set), handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is passed over when its time comes."""

    def _run_once(self) -> None:
        ready, timers = self._ready, self._timers
        if not ready:
            while timers and timers[0][2].cancelled():
                heapq.heappop(timers)
            if not timers:
                raise Deadlock
            self._now_s = max(self._now_s, timers[0][0])
        while timers and timers[0][0] <= self._now_s:
            ready.append(heapq.heappop(timers)[2])
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Result], *args: Any
    ) -> asyncio.Future[Result]:
        """Run it on the loop: at once without a machine, else when the machine says."""
        answer: asyncio.Future[Result] = self.create_future()
        machine = jobs.get()
        latency_s = machine.latency_s(executor) if machine else 0.0

        def work() -> None:
            if answer.done():  # cancelled before its turn, as a thread pool would
                return
            try:
                result = machine.run(lambda: func(*args)) if machine else func(*args)
            except Exception as error:
                answer.set_exception(error)
            else:
                answer.set_result(result)

        if latency_s:
            self.call_later(latency_s, work)
        else:
            work()
        return answer


def run_virtually(main: Callable[[], Any]) -> Any:
    """Run a coroutine function to its end on a loop of its own; what is left of its tasks is cancelled."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())

"""An event loop in virtual time: nobody waits, idle time is skipped, and the same seed gives the same run.

`select` never waits for anything; it adds its time-out to the clock. Work for threads is run by whoever `jobs` names
in the context of the caller (a machine with a card), at a virtual time of its own and right on the loop: so the
product's code runs unchanged, and there is no thread whose turn could fall out differently.
"""

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import ContextVar
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


class _NeverWaits(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Deadlock
        if timeout > 0:
            self.now_s += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """`loop.time()` is virtual and starts at 0."""

    def __init__(self) -> None:
        self._never_waits = _NeverWaits()
        super().__init__(self._never_waits)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._never_waits.now_s

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

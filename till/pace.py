"""When to try again (for ever, with full jitter), and how to stop waiting."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

Pause = Callable[[float], Awaitable[None]]
Result = TypeVar("Result")


def for_ever(
    pause: Pause, rng: random.Random, *, on: type[Exception], base_s: float, cap_s: float
) -> AsyncRetrying:
    """Call again after each `on`, without a last time. Full jitter: all tills of a shop must not knock together."""

    def wait_s(state: RetryCallState) -> float:
        # The exponent stops growing long before a float overflows.
        return rng.uniform(0.0, min(cap_s, base_s * 2.0 ** min(state.attempt_number - 1, 32)))

    return AsyncRetrying(sleep=pause, wait=wait_s, retry=retry_if_exception_type(on), reraise=True)


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, Result]) -> Result | None:
    """What `work` returns, or None when `stop` is set first: then the work is cancelled. Not for work that must end."""
    working = asyncio.create_task(work)
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((working, stopped), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, stopped):
            task.cancel()
        if not working.done():
            with suppress(asyncio.CancelledError):
                await working

"""Run what a service runs for ever, and wait for what it brings, without guessing how long it takes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

TURNS_UNTIL_PATIENT = 1_000


@contextlib.asynccontextmanager
async def running_task(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Have it run while inside; cancelled then, unless it has ended. What it raised is raised at the end."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], object], *, within_s: float = 10.0) -> None:
    """Return as soon as the condition holds; AssertionError when it does not in real time.

    For what is told by nobody: where there is an event, a queue or a future, await that instead.
    """
    try:
        async with asyncio.timeout(within_s):
            turns = 0
            while not condition():
                turns += 1
                # Nearly always it is a matter of a few turns; after that, leave the processor to whoever needs it.
                await asyncio.sleep(0 if turns < TURNS_UNTIL_PATIENT else 0.002)
    except TimeoutError:
        raise AssertionError(f"did not come true within {within_s} s: {condition}") from None

"""Wait for what other tasks, threads and sockets bring, without guessing how long it takes."""

import asyncio
from collections.abc import Callable

TURNS_UNTIL_PATIENT = 1_000


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

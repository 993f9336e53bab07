"""Sleep, but not past an event: what loops do between two steps when something may call them sooner."""

import asyncio

from appliance.runtime.clock import Clock


async def pause(clock: Clock, seconds: float, sooner: asyncio.Event) -> None:
    """Return after that long, or as soon as the event is set, which is then cleared."""
    waits = [
        asyncio.create_task(clock.sleep(seconds), name="pause"),
        asyncio.create_task(sooner.wait(), name="pause-sooner"),
    ]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    sooner.clear()

"""Sleep, but not past an event: what loops do between two steps when something may call them sooner."""

import asyncio

from appliance.runtime.clock import Clock


async def pause(clock: Clock, seconds: float, sooner: asyncio.Event) -> None:
    """Return after that long, or as soon as the event is set, which is then cleared."""
    timer = asyncio.create_task(clock.sleep(seconds), name="pause")

    def wake(_timer: asyncio.Task[None]) -> None:
        sooner.set()

    timer.add_done_callback(wake)
    try:
        await sooner.wait()
    finally:
        timer.remove_done_callback(wake)
        timer.cancel()
    sooner.clear()

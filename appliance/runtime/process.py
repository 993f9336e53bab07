"""The outer shell of a daemon: event loop, signals, exit code."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

import uvloop

Main = Callable[[asyncio.Event], Awaitable[None]]


def run_daemon(main: Main) -> None:
    """Run `main(stop)` on uvloop until it returns; SIGTERM and SIGINT set `stop`, and main then cleans up."""

    async def guarded() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await main(stop)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(guarded())

"""The outer shell of a daemon: event loop, signals, exit code."""

import asyncio
import ctypes
import gc
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress

import uvloop

Main = Callable[[asyncio.Event], Awaitable[None]]

# How many new objects, and how many younger collections, make the garbage collector look. Little that a request makes
# can hold itself, and what does is found here too, only later.
GC_THRESHOLDS = 10_000, 50, 100

# glibc's M_MMAP_THRESHOLD (mallopt(3)): what is larger goes back to the system when it is freed. Left alone, glibc
# learns from the first large buffer to keep them all, and a flood of connections would be remembered as memory.
_MMAP_THRESHOLD, _LARGE_BYTES = -3, 128 * 1024
# M_TRIM_THRESHOLD: this much may lie free on top of the heap. Giving it back after each group of sales and asking for
# it again cost a tenth of a sale.
_TRIM_THRESHOLD, _SPARE_BYTES = -1, 4 * 1024 * 1024


def run_daemon(main: Main) -> None:
    """Run `main(stop)` on uvloop until it returns; SIGTERM and SIGINT set `stop`, and main then cleans up."""

    async def guarded() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await main(stop)

    with suppress(AttributeError):  # not glibc
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
        libc.mallopt(_TRIM_THRESHOLD, _SPARE_BYTES)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(guarded())


def keep_to_one_core() -> None:
    """Have this thread, and all that it starts from now on, run where it runs now. Nothing where that cannot be chosen.

    The event loop and the journal's thread take turns at the interpreter's lock: on two cores they move it, and all
    that they touch, from cache to cache, and wait for each other's core to wake up. Programs of others can move away.
    """
    with suppress(AttributeError, OSError):  # no Linux, no glibc; a core that was taken away
        os.sched_setaffinity(0, {ctypes.CDLL(None).sched_getcpu()})


def settle() -> None:
    """Startup is over: what lives now stays for good, and the garbage collector need not walk it again and again.

    Modules and stores are some hundred thousand objects; walking them held up every request for 30 ms, on a Pi more.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)

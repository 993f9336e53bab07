"""Single keys from a terminal, as they are pressed."""

import asyncio
import os
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def pressed_keys() -> Iterator[asyncio.Queue[str]]:
    """The keys pressed while inside, without waiting for a line and without an echo; Ctrl-C stays a signal."""
    descriptor = sys.stdin.fileno()
    keys: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read() -> None:
        data = os.read(descriptor, 64)
        if not data:  # the terminal went away
            loop.remove_reader(descriptor)
        for key in data.decode(errors="replace"):
            keys.put_nowait(key)

    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, read)
    try:
        yield keys
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

"""Scripted selling, for demos and tests: NDJSON, one step a line, sold in real time.

    {"after_s": 1.25, "basket": {"lines": [{"article_id": "socks-42", "quantity": "2"}]}}
    {"after_s": 3.0, "operation": "transfer", "data": {"to": "shop-2"}}

`after_s` counts from the start of the script; a step that is late is taken at once. A line that cannot be read is
told and left out.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from appliance.domain.errors import Malformed
from appliance.domain.gate import OperationName
from appliance.runtime.clock import Clock
from till.operations import Operations
from till.pace import unless
from till.report import Tell, Unreadable
from till.selling import Selling
from till.tickets import Basket

# A ticket of 1,000 lines is some 200 KiB.
LINE_BYTES_MAX = 1024 * 1024
# How far the reader may run ahead of the till.
LINES_AHEAD = 100
_CHUNK_BYTES = 64 * 1024


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A basket to sell, or an operation to ask for, `after_s` seconds after the start."""

    after_s: Annotated[float, Meta(ge=0)] = 0.0
    basket: Basket | None = None
    operation: OperationName | None = None
    data: dict[str, Any] = {}


_steps = msgspec.json.Decoder(Step)


def read_step(line: bytes) -> Step:
    """The step on this line. Raises Malformed unless it names a basket or an operation, and not both."""
    try:
        step = _steps.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(str(error)) from error
    if (step.basket is None) == (step.operation is None):
        raise Malformed("a step names a basket or an operation, and not both")
    return step


class Player:
    """Plays a script on a till."""

    def __init__(self, selling: Selling, operations: Operations, tell: Tell, clock: Clock) -> None:
        self._selling = selling
        self._operations = operations
        self._tell = tell
        self._clock = clock

    async def play(self, lines: AsyncIterator[bytes], stop: asyncio.Event) -> None:
        """Take every step; once `stop` is set, end after the ticket in hand."""
        began_s = self._clock.monotonic()
        number = 0
        while (line := await unless(stop, _next(lines))) is not None:
            number += 1
            if not line.strip():
                continue
            try:
                step = read_step(line)
            except Malformed as error:
                self._tell(Unreadable(number, str(error)))
                continue
            await unless(stop, self._clock.sleep(began_s + step.after_s - self._clock.monotonic()))
            if stop.is_set():
                return
            await self._take(step)

    async def _take(self, step: Step) -> None:
        if step.basket is not None:
            await self._selling.sell(step.basket)
        elif step.operation is not None:
            await self._operations.perform(step.operation, step.data)


async def _next(lines: AsyncIterator[bytes]) -> bytes | None:
    return await anext(lines, None)


class LineReader:
    """The lines of a file or a pipe, read by a thread of its own: neither may block the loop."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(LINES_AHEAD)

    async def lines(self) -> AsyncIterator[bytes]:
        """Every line without its line feed, until the end of the file; a line without end is cut at 1 MiB."""
        loop = asyncio.get_running_loop()

        def put(line: bytes | None) -> None:
            asyncio.run_coroutine_threadsafe(self._queue.put(line), loop).result()

        # A daemon: a read from a terminal or a pipe cannot be called back, and must not hold up the end.
        threading.Thread(target=_pump, args=(self._descriptor, put), name="script", daemon=True).start()
        while (line := await self._queue.get()) is not None:
            yield line


def _pump(descriptor: int, put: Callable[[bytes | None], None]) -> None:
    pending = b""
    try:
        while chunk := os.read(descriptor, _CHUNK_BYTES):
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                put(line)
            if len(pending) > LINE_BYTES_MAX:
                put(pending)  # no step is so long: it will be told as unreadable
                pending = b""
        if pending:
            put(pending)
        put(None)
    except RuntimeError:
        return  # the loop has ended, and nobody listens any more

"""What the line is made of: chunks that wait until they are due, and the second delivery of what was sent once."""

import asyncio
import socket
from typing import NamedTuple

from appliance.runtime.clock import Clock
from demo.faults import Then, Way

# Small enough that a slow line still moves, large enough that a fast one costs nothing.
CHUNK_BYTES = 8 * 1024


class Chunk(NamedTuple):
    """Bytes on their way, and what becomes of the way behind them."""

    data: bytes
    due_s: float
    then: Then = "on"


class Direction:
    """One of the two: all connections share its speed."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self.delivered = 0
        self.free_s = 0.0


def new_socket() -> socket.socket:
    """For TCP over IPv4, as the event loop needs it; nothing waits to be sent with more."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


async def give_out(
    queue: asyncio.Queue[Chunk], sink: socket.socket, direction: Direction, clock: Clock
) -> None:
    """Send each chunk when it is due, until one ends the way. Raises OSError: the sink broke, or a reset is due."""
    loop = asyncio.get_running_loop()
    while (chunk := await queue.get()).then == "on":
        await _wait_until(chunk.due_s, clock)
        await loop.sock_sendall(sink, chunk.data)
        direction.delivered += len(chunk.data)
    await _wait_until(chunk.due_s, clock)
    if chunk.then == "reset":
        raise ConnectionResetError
    sink.shutdown(socket.SHUT_WR)


async def _wait_until(due_s: float, clock: Clock) -> None:
    if (wait_s := due_s - clock.monotonic()) > 0:
        await clock.sleep(wait_s)


class Copy:
    """What one connection sends, once more: over a connection of its own, whose answers nobody reads.

    What waits here is no more than the shop sends before it has its answer.
    """

    def __init__(self, to: tuple[str, int], delay_s: float, unread: Direction, clock: Clock) -> None:
        self._to = to
        self._delay_s = delay_s
        self._unread = unread
        self._clock = clock
        self._sent = asyncio.Queue[Chunk]()

    def send(self, data: bytes) -> None:
        """Deliver this too; none (b"") is the end."""
        due_s = self._clock.monotonic() + self._delay_s
        self._sent.put_nowait(Chunk(data, due_s, "on" if data else "end"))

    async def carry(self) -> None:
        """Deliver until the other end has closed, or broke: then nothing is done twice."""
        loop = asyncio.get_running_loop()
        upstream = new_socket()
        try:
            await loop.sock_connect(upstream, self._to)
            giving = asyncio.create_task(
                give_out(self._sent, upstream, Direction("up"), self._clock), name="line-copy-out"
            )
            try:
                while answer := await loop.sock_recv(upstream, CHUNK_BYTES):
                    self._unread.delivered += len(answer)
            finally:
                giving.cancel()
                await asyncio.gather(giving, return_exceptions=True)
        except OSError:
            return
        finally:
            upstream.close()

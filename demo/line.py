"""The line between the shop and head office: a TCP relay on loopback whose condition we decide.

A cut is a black hole, which is how lines fail: nothing is refused and nothing is closed, bytes just stop. Guarantees:
no byte that is sent during a cut ever arrives, and when the line is mended, every connection that was caught in the
cut is reset, so that nobody waits for ever.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import msgspec

from appliance.runtime.clock import Clock

# Small enough that a slow line still moves, large enough that a fast one costs nothing.
CHUNK_BYTES = 8 * 1024
# What may be under way in one direction of one connection before its sender has to wait: half a megabyte.
CHUNKS_UNDER_WAY_MAX = 64
# Closing with a time to linger of zero sends a reset (socket(7), SO_LINGER).
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Condition(msgspec.Struct, frozen=True):
    """How the line is. `bytes_per_s` holds for each direction, over all connections; None is as fast as it goes."""

    cut: bool = False
    latency_s: float = 0.0
    bytes_per_s: float | None = None

    @property
    def slow(self) -> bool:
        """Whether bytes are held up on their way."""
        return self.latency_s > 0 or self.bytes_per_s is not None


class Counters(msgspec.Struct, frozen=True):
    """What the line has seen: connections taken and reset, and the bytes that came out at each end."""

    connections: int
    resets: int
    bytes_up: int
    bytes_down: int


class _Direction:
    """One of the two: all connections share its speed."""

    def __init__(self) -> None:
        self.delivered = 0
        self.free_s = 0.0


class _Chunk(NamedTuple):
    data: bytes
    due_s: float


class _Connection:
    """Somebody who connected, and our own connection to head office in his name."""

    def __init__(self, client: socket.socket) -> None:
        self.client = client
        self.upstream = _socket()
        self.carrying: asyncio.Task[None] | None = None
        self.caught = False

    def close(self, *, reset: bool) -> None:
        for end in (self.client, self.upstream):
            if reset:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            end.close()


class Line:
    """One line to one address. Use `open_line`."""

    def __init__(self, listener: socket.socket, to: tuple[str, int], clock: Clock) -> None:
        self._listener = listener
        self._to = to
        self._clock = clock
        self._up, self._down = _Direction(), _Direction()
        self._connections: set[_Connection] = set()
        self._taken = 0
        self._resets = 0
        self.condition = Condition()

    @property
    def url(self) -> str:
        """Where the shop reaches head office."""
        host, port = self._listener.getsockname()
        return f"http://{host}:{port}"

    @property
    def counters(self) -> Counters:
        """What the line has seen so far."""
        return Counters(self._taken, self._resets, self._up.delivered, self._down.delivered)

    def cut(self) -> None:
        """From here on nothing passes; connections stay open at both ends, and new ones get no answer."""
        self.condition = msgspec.structs.replace(self.condition, cut=True)
        for connection in self._connections:
            self._catch(connection)

    async def mend(self) -> None:
        """The line carries again, as slow as it was; whoever was caught in the cut is reset and has to connect anew."""
        self.condition = msgspec.structs.replace(self.condition, cut=False)
        for connection in [connection for connection in self._connections if connection.caught]:
            await self._drop(connection)

    def slow(self, latency_s: float, bytes_per_s: float | None) -> None:
        """Hold up what is sent from now on: by a time each way, and to a speed. (0, None): not at all."""
        self.condition = msgspec.structs.replace(self.condition, latency_s=latency_s, bytes_per_s=bytes_per_s)

    async def run(self) -> None:
        """Take connections for ever; all are reset when this is cancelled."""
        try:
            while True:
                client, _ = await asyncio.get_running_loop().sock_accept(self._listener)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._taken += 1
                connection = _Connection(client)
                self._connections.add(connection)
                if self.condition.cut:
                    connection.caught = True
                else:
                    connection.carrying = asyncio.create_task(self._carry(connection), name="line-connection")
        finally:
            for connection in list(self._connections):
                self._catch(connection)
                await self._drop(connection)

    def _catch(self, connection: _Connection) -> None:
        connection.caught = True
        # Through gather() this reaches all that carries for the connection before another byte can move.
        if connection.carrying is not None:
            connection.carrying.cancel()

    async def _drop(self, connection: _Connection) -> None:
        # A socket may only be closed once nobody waits on it: its number could already be another one's.
        if connection.carrying is not None:
            await asyncio.wait([connection.carrying])
        self._forget(connection, reset=True)

    def _forget(self, connection: _Connection, *, reset: bool) -> None:
        if connection in self._connections:
            self._connections.discard(connection)
            self._resets += reset
            connection.close(reset=reset)

    async def _carry(self, connection: _Connection) -> None:
        """Carry until both ends are done. Cancelled: leave everything as it hangs."""
        try:
            await asyncio.get_running_loop().sock_connect(connection.upstream, self._to)
            await self._exchange(connection)
        except OSError:  # one end broke, or head office is down: the other end is told the only way TCP knows
            self._forget(connection, reset=True)
        else:
            self._forget(connection, reset=False)

    async def _exchange(self, connection: _Connection) -> None:
        up = asyncio.Queue[_Chunk](CHUNKS_UNDER_WAY_MAX)
        down = asyncio.Queue[_Chunk](CHUNKS_UNDER_WAY_MAX)
        work = [
            asyncio.create_task(self._take_in(connection.client, up, self._up), name="line-up-in"),
            asyncio.create_task(self._give_out(up, connection.upstream, self._up), name="line-up-out"),
            asyncio.create_task(self._take_in(connection.upstream, down, self._down), name="line-down-in"),
            asyncio.create_task(self._give_out(down, connection.client, self._down), name="line-down-out"),
        ]
        try:
            await asyncio.gather(*work)
        finally:
            for task in work:
                task.cancel()
            await asyncio.wait(work)

    async def _take_in(
        self, source: socket.socket, queue: asyncio.Queue[_Chunk], direction: _Direction
    ) -> None:
        loop = asyncio.get_running_loop()
        data = b"first"
        while data:
            data = await loop.sock_recv(source, CHUNK_BYTES)
            await queue.put(_Chunk(data, self._due_s(len(data), direction)))

    async def _give_out(
        self, queue: asyncio.Queue[_Chunk], sink: socket.socket, direction: _Direction
    ) -> None:
        loop = asyncio.get_running_loop()
        while (chunk := await queue.get()).data:
            await self._wait_until(chunk.due_s)
            await loop.sock_sendall(sink, chunk.data)
            direction.delivered += len(chunk.data)
        await self._wait_until(chunk.due_s)
        sink.shutdown(socket.SHUT_WR)

    def _due_s(self, size: int, direction: _Direction) -> float:
        now_s = self._clock.monotonic()
        if self.condition.bytes_per_s is None:
            return now_s + self.condition.latency_s
        direction.free_s = max(direction.free_s, now_s) + size / self.condition.bytes_per_s
        return direction.free_s + self.condition.latency_s

    async def _wait_until(self, due_s: float) -> None:
        if (wait_s := due_s - self._clock.monotonic()) > 0:
            await self._clock.sleep(wait_s)


@asynccontextmanager
async def open_line(to: tuple[str, int], clock: Clock) -> AsyncIterator[Line]:
    """A line to `to` (host, port), listening on any free port of 127.0.0.1 while inside."""
    listener = _socket()
    try:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        line = Line(listener, to, clock)
        running = asyncio.create_task(line.run(), name="line")
        try:
            yield line
        finally:
            running.cancel()
            await asyncio.wait([running])
    finally:
        listener.close()


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made

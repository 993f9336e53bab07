"""The line between the shop and head office: a TCP relay on loopback whose condition we decide.

A cut is a black hole, which is how lines fail: nothing is refused and nothing is closed, bytes just stop. Guarantees:
no byte that is sent during a cut ever arrives, and when the line is mended, every connection that was caught in the
cut, or hangs half open, is reset, so that nobody waits for ever. Finer faults (demo/faults.py) are laid upon it.
"""

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from appliance.runtime.clock import Clock
from demo.faults import Affliction, Course, Duplicate, Fault, Jitter, Refuse, Then
from demo.pipes import CHUNK_BYTES, Chunk, Copy, Direction, give_out, new_socket

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
    """What the line has seen: connections taken, reset, struck by faults; the bytes that came out at each end.

    `bytes_unread`: answers to what was delivered a second time.
    """

    connections: int
    resets: int
    strikes: int
    bytes_up: int
    bytes_down: int
    bytes_unread: int


class _Connection:
    """Somebody who connected, and our own connection to head office in his name."""

    def __init__(self, client: socket.socket) -> None:
        self.client = client
        self.upstream = new_socket()
        self.carrying: asyncio.Task[None] | None = None
        self.caught = False
        self.copies: dict[Affliction, Copy] = {}

    def close(self, *, reset: bool) -> None:
        for end in (self.client, self.upstream):
            if reset:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            end.close()


class Line:
    """One line to one address. Use `open_line`."""

    def __init__(
        self, listener: socket.socket, to: tuple[str, int], scheme: str, clock: Clock, rng: random.Random
    ) -> None:
        self._listener = listener
        self._to = to
        self._scheme = scheme
        self._clock = clock
        self._rng = rng
        self._up, self._down, self._unread = Direction("up"), Direction("down"), Direction("down")
        self._connections: set[_Connection] = set()
        self._copying: set[asyncio.Task[None]] = set()
        self._afflictions: list[Affliction] = []
        self._taken = 0
        self._resets = 0
        self._strikes = 0
        self.condition = Condition()

    @property
    def url(self) -> str:
        """Where the shop reaches head office."""
        host, port = self._listener.getsockname()
        return f"{self._scheme}://{host}:{port}"

    @property
    def counters(self) -> Counters:
        """What the line has seen so far."""
        strikes = self._strikes + sum(one.struck for one in self._afflictions)
        return Counters(
            connections=self._taken,
            resets=self._resets,
            strikes=strikes,
            bytes_up=self._up.delivered,
            bytes_down=self._down.delivered,
            bytes_unread=self._unread.delivered,
        )

    @property
    def faults(self) -> list[Fault]:
        """What lies upon the line and can still strike."""
        return [one.fault for one in self._afflictions if not one.spent]

    def cut(self) -> None:
        """From here on nothing passes; connections stay open at both ends, and new ones get no answer."""
        self.condition = msgspec.structs.replace(self.condition, cut=True)
        for connection in self._connections:
            self._catch(connection)
        for copying in self._copying:
            copying.cancel()

    def inflict(self, fault: Fault, times: int | None = None) -> None:
        """Lay a fault upon the line until it is mended, or until it has struck that many connections."""
        self._afflictions.append(Affliction(fault, times))

    async def mend(self) -> None:
        """The line carries again without faults, as slow as it was; whoever was caught is reset and connects anew."""
        self.condition = msgspec.structs.replace(self.condition, cut=False)
        await self.relieve()

    async def relieve(self) -> None:
        """Take all faults away; whoever hangs in one is reset. A cut stays."""
        self._strikes += sum(one.struck for one in self._afflictions)
        self._afflictions.clear()
        if self.condition.cut:
            return
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
                elif any(isinstance(one.fault, Refuse) and one.strike() for one in self._afflictions):
                    self._forget(connection, reset=True)
                else:
                    connection.carrying = asyncio.create_task(self._carry(connection), name="line-connection")
        finally:
            for connection in list(self._connections):
                self._catch(connection)
                await self._drop(connection)
            for copying in self._copying:
                copying.cancel()
            await asyncio.gather(*self._copying, return_exceptions=True)

    def _catch(self, connection: _Connection) -> None:
        connection.caught = True
        # Through gather() this reaches all that carries for the connection before another byte can move.
        _cancel(connection.carrying)

    async def _drop(self, connection: _Connection) -> None:
        # A socket may only be closed once nobody waits on it: its number could already be another one's.
        if connection.carrying is not None:
            _cancel(connection.carrying)
            await asyncio.wait([connection.carrying])
        self._forget(connection, reset=True)

    def _forget(self, connection: _Connection, *, reset: bool) -> None:
        if connection in self._connections:
            self._connections.discard(connection)
            self._resets += reset
            connection.close(reset=reset)
            for copy in connection.copies.values():
                copy.send(b"")

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
        up = asyncio.Queue[Chunk](CHUNKS_UNDER_WAY_MAX)
        down = asyncio.Queue[Chunk](CHUNKS_UNDER_WAY_MAX)
        work = [
            asyncio.create_task(
                self._take_in(connection, connection.client, up, self._up), name="line-up-in"
            ),
            asyncio.create_task(give_out(up, connection.upstream, self._up, self._clock), name="line-up-out"),
            asyncio.create_task(
                self._take_in(connection, connection.upstream, down, self._down), name="line-down-in"
            ),
            asyncio.create_task(
                give_out(down, connection.client, self._down, self._clock), name="line-down-out"
            ),
        ]
        try:
            await asyncio.gather(*work)
        finally:
            for task in work:
                task.cancel()
            await asyncio.wait(work)

    async def _take_in(
        self,
        connection: _Connection,
        source: socket.socket,
        queue: asyncio.Queue[Chunk],
        direction: Direction,
    ) -> None:
        loop = asyncio.get_running_loop()
        course, free_s = Course(direction.way), 0.0
        then: Then = "on"
        while then == "on":
            data = await loop.sock_recv(source, CHUNK_BYTES)
            if direction is self._up:
                self._copy(connection, data)
            pieces, then = course.take(data, self._afflictions)
            # A mended line is not held up by what still drips.
            connection.caught |= any(takes_s for _, takes_s in pieces)
            for piece, takes_s in pieces:
                free_s = max(free_s, self._clock.monotonic()) + takes_s
                await queue.put(Chunk(piece, max(free_s, self._due_s(len(piece), direction))))
        if then == "hang":
            connection.caught = True
            await asyncio.Event().wait()
        await queue.put(Chunk(b"", max(free_s, self._due_s(0, direction)), then))

    def _copy(self, connection: _Connection, data: bytes) -> None:
        """Hand what was just sent to the copies of this connection; a fault that has not struck it yet begins one."""
        for one in self._afflictions:
            if isinstance(one.fault, Duplicate) and one not in connection.copies and data and one.strike():
                copy = connection.copies[one] = Copy(self._to, one.fault.delay_s, self._unread, self._clock)
                copying = asyncio.create_task(copy.carry(), name="line-copy")
                self._copying.add(copying)
                copying.add_done_callback(self._copying.discard)
        for copy in connection.copies.values():
            copy.send(data)

    def _due_s(self, size: int, direction: Direction) -> float:
        now_s = self._clock.monotonic() + self._jitter_s()
        if self.condition.bytes_per_s is None:
            return now_s + self.condition.latency_s
        direction.free_s = max(direction.free_s, now_s) + size / self.condition.bytes_per_s
        return direction.free_s + self.condition.latency_s

    def _jitter_s(self) -> float:
        most_s = max(
            (one.fault.up_to_s for one in self._afflictions if isinstance(one.fault, Jitter)), default=0.0
        )
        return self._rng.uniform(0.0, most_s)


@asynccontextmanager
async def open_line(
    to: tuple[str, int], clock: Clock, rng: random.Random, *, scheme: str = "http"
) -> AsyncIterator[Line]:
    """A line to `to` (host, port), listening on any free port of 127.0.0.1 while inside; TLS passes as it is."""
    listener = new_socket()
    try:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        line = Line(listener, to, scheme, clock, rng)
        running = asyncio.create_task(line.run(), name="line")
        try:
            yield line
        finally:
            running.cancel()
            await asyncio.wait([running])
    finally:
        listener.close()


def _cancel(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()

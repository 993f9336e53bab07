"""Serve an aiohttp application on a TCP port while inside a block."""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import cast

from aiohttp import web

from appliance.domain.errors import BadInput, ConfigError
from appliance.runtime.guard import Cuttable, Guard
from appliance.runtime.problem import problem
from appliance.runtime.shortway import Connections, ShortWay

# Where only programs of this machine are.
LOOPBACK = frozenset({"127.0.0.1", "::1"})
# A TLS handshake takes no longer.
HANDSHAKE_S = 5.0
# Open requests (an SSE stream lasts for ever) get this long to end at a stop.
SHUTDOWN_S = 1.0
# What a head may be: a line of it, and how many.
LINE_BYTES_MAX = 4 * 1024
FIELDS_MAX = 64
# Connections that wait to be accepted, and how many are taken before others get their turn.
BACKLOG = 128
ACCEPTED_A_TURN = 8
# Without a file descriptor to spare, accepting rests this long.
REST_S = 1.0
# How often a free port is looked for that is free at every address.
PORT_TRIES = 8


@asynccontextmanager
async def listening(
    app: web.Application,
    hosts: str | Sequence[str],
    port: int,
    short_way: ShortWay | None = None,
    *,
    context: ssl.SSLContext | None = None,
    guard: Guard | None = None,
) -> AsyncIterator[int]:
    """Serve `app` at a port of one host or several; yields the port really bound (0: any free one). No access log.

    With a `context` over TLS (what changes in it holds for later handshakes), else in plain. A `guard` decides who gets
    a connection and how long it may be silent; somebody has to run it. Connections that begin with the request of
    `short_way` are served by it. Raises ConfigError when the port cannot be bound: taken, not ours, not allowed.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        assert runner.server is not None  # set up
        aside = partial(_Handler, runner.server)
        connections = None if short_way is None else Connections(short_way, aside, guard)
        sockets = await _bound((hosts,) if isinstance(hosts, str) else hosts, port)
        entrance = _Entrance(sockets, connections or aside, context, guard)
        try:
            yield sockets[0].getsockname()[1]
        finally:
            await entrance.close()
            if connections is not None:
                await connections.close(SHUTDOWN_S)
    finally:
        await runner.cleanup()


class _Handler(web.RequestHandler):
    """aiohttp's protocol, within our limits; what it cannot read as HTTP is answered as every other error."""

    __slots__ = ()

    def __init__(self, server: web.Server) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=cast(logging.Logger, None),  # none is wanted, and none may be said
            auto_decompress=False,
            max_line_size=LINE_BYTES_MAX,
            max_field_size=LINE_BYTES_MAX,
            max_headers=FIELDS_MAX,
        )

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status >= 500 or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        # Anybody can send garbage all day: it leaves no line in the log.
        response = problem(BadInput("This is not a request of HTTP/1.1."))
        response.force_close()
        return response


class _Entrance:
    """Accepts connections and shakes hands."""

    def __init__(
        self,
        sockets: list[socket.socket],
        factory: Callable[[], asyncio.Protocol],
        context: ssl.SSLContext | None,
        guard: Guard | None,
    ) -> None:
        self._sockets = sockets
        self._factory = factory
        self._context = context
        self._guard = guard
        self._loop = asyncio.get_running_loop()
        self._welcomes: set[asyncio.Task[None]] = set()
        self._resting: set[asyncio.TimerHandle] = set()
        for listener in sockets:
            self._loop.add_reader(listener, self._accept, listener)

    async def close(self) -> None:
        """Accept nobody any more."""
        for handle in self._resting:
            handle.cancel()
        for listener in self._sockets:
            self._loop.remove_reader(listener)
            listener.close()
        for task in self._welcomes:
            task.cancel()
        if self._welcomes:
            await asyncio.wait(self._welcomes)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTED_A_TURN):
            try:
                accepted, peer = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                self._rest(listener)
                return
            accepted.setblocking(False)
            task = self._loop.create_task(self._welcome(accepted, str(peer[0])))
            self._welcomes.add(task)
            task.add_done_callback(self._welcomes.discard)

    def _rest(self, listener: socket.socket) -> None:
        """No descriptor is left: what waits would call us again and again."""
        self._loop.remove_reader(listener)

        def again() -> None:
            self._resting.discard(handle)
            self._loop.add_reader(listener, self._accept, listener)

        handle = self._loop.call_later(REST_S, again)
        self._resting.add(handle)

    async def _welcome(self, accepted: socket.socket, address: str) -> None:
        if self._guard is None:
            await self._shake_hands(accepted, HANDSHAKE_S)
            return
        visit = self._guard.admit(address, cast("asyncio.Task[None]", asyncio.current_task()).cancel)
        if visit is None:
            accepted.close()
            return
        transport = await self._shake_hands(accepted, self._guard.bounds.handshake_s)
        if transport is None:
            self._guard.failed(visit, "handshake")
        else:
            self._guard.opened(visit, cast(Cuttable, transport))

    async def _shake_hands(self, accepted: socket.socket, within_s: float) -> asyncio.BaseTransport | None:
        try:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            transport, _ = await self._loop.connect_accepted_socket(
                self._factory,
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=None if self._context is None else within_s,
            )
        except OSError:  # garbage, silence, a certificate of somebody else's
            accepted.close()
            return None
        return transport


async def _bound(hosts: Sequence[str], port: int) -> list[socket.socket]:
    """One listening socket for each address of the hosts, all at one port.

    A family that the machine does not speak is left out, unless nothing else is asked for.
    """
    for left in reversed(range(PORT_TRIES)):
        try:
            return await _bound_once(hosts, port)
        except OSError as error:
            # A port that is free at one address may be taken at the next.
            if port or not left:
                where = " and ".join(f"{host}:{port}" for host in hosts)
                raise ConfigError(f"cannot listen on {where}: {error.strerror or error}") from error
    raise AssertionError("unreachable")


async def _bound_once(hosts: Sequence[str], port: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    try:
        for host in hosts:
            found = await asyncio.get_running_loop().getaddrinfo(
                host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            for family, kind, protocol, _, address in dict.fromkeys(found):
                try:
                    listener = socket.socket(family, kind, protocol)
                except OSError as error:
                    if error.errno == errno.EAFNOSUPPORT and len(hosts) > 1:
                        continue
                    raise
                sockets.append(listener)
                listener.setblocking(False)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listener.bind((address[0], sockets[0].getsockname()[1] or port, *address[2:]))
                listener.listen(BACKLOG)
    except OSError:
        for listener in sockets:
            listener.close()
        raise
    return sockets

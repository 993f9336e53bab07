"""Serve an aiohttp application on a TCP port while inside a block."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from appliance.domain.errors import ConfigError
from appliance.runtime.shortway import Connections, ShortWay

# Where only programs of this machine are.
LOOPBACK = frozenset({"127.0.0.1", "::1"})
# A TLS handshake takes no longer.
HANDSHAKE_S = 5.0
# Open requests (an SSE stream lasts for ever) get this long to end at a stop.
SHUTDOWN_S = 1.0


@asynccontextmanager
async def listening(
    app: web.Application,
    host: str,
    port: int,
    short_way: ShortWay | None = None,
    *,
    context: ssl.SSLContext | None = None,
) -> AsyncIterator[int]:
    """Serve `app` on host:port; yields the port really bound (port 0: any free one). No access log.

    With a `context` over TLS (what changes in it holds for later handshakes), else in plain.

    Connections that begin with the request of `short_way` are served by it. Raises ConfigError when the port cannot
    be bound: taken, not ours, not allowed.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S, auto_decompress=False)
    await runner.setup()
    try:
        aside = runner.server
        assert aside is not None  # set up
        connections = None if short_way is None else Connections(short_way, aside)
        server = await _bound(connections or aside, host, port, context)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            if connections is not None:
                await connections.close(SHUTDOWN_S)
    finally:
        await runner.cleanup()


async def _bound(
    factory: Callable[[], asyncio.BaseProtocol], host: str, port: int, context: ssl.SSLContext | None
) -> asyncio.Server:
    patience_s = None if context is None else HANDSHAKE_S
    try:
        return await asyncio.get_running_loop().create_server(
            factory, host, port, reuse_address=True, ssl=context, ssl_handshake_timeout=patience_s
        )
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error

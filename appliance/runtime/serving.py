"""Serve an aiohttp application on a TCP port while inside a block."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from appliance.domain.errors import ConfigError

# Open requests (an SSE stream lasts for ever) get this long to end at a stop.
SHUTDOWN_S = 1.0


@asynccontextmanager
async def listening(app: web.Application, host: str, port: int) -> AsyncIterator[int]:
    """Serve `app` on host:port; yields the port really bound (port 0: any free one). No access log.

    Raises ConfigError when it cannot be bound: taken, not ours, not allowed.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S, auto_decompress=False)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, reuse_address=True)
        try:
            await site.start()
        except OSError as error:
            raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()

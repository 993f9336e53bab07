"""The limit of what is served over HTTP: `python -m bench.bare`, aiohttp on uvloop with handlers that do nothing.

A POST is read to its end and answered 201, a GET 200, each with a body as long as the box's own answer.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiohttp import web

from appliance.runtime.process import run_daemon
from appliance.runtime.serving import listening
from bench.processes import Server, python, serving

HOST = "127.0.0.1"
BODY_BYTES_MAX = 16 * 1024 * 1024
# An ack with its signed head, and the view of one article.
ACK = b"x" * 800
ARTICLE = b"x" * 240


@contextmanager
def bare(folder: Path) -> Iterator[Server]:
    """The server in a process of its own, while inside."""
    with serving(python("-m", "bench.bare"), folder / "bare.log") as server:
        yield server


def make_app() -> web.Application:
    """The application."""

    async def post(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=ACK, status=201, content_type="application/json")

    async def get(_request: web.Request) -> web.Response:
        return web.Response(body=ARTICLE, content_type="application/json")

    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app.router.add_post("/{path:.*}", post)
    app.router.add_get("/{path:.*}", get)
    return app


def main() -> None:
    """Serve until told to stop."""

    async def serve(stop: asyncio.Event) -> None:
        async with listening(make_app(), HOST, 0) as port:
            print(f"ready http://{HOST}:{port}", flush=True)
            await stop.wait()

    run_daemon(serve)


if __name__ == "__main__":
    main()

"""A guarded port over TLS, attacked from 127.0.0.2 (127.0.0.1 is exempt), on both event loops."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Any

import pytest
import uvloop
from aiohttp import web

from appliance.domain.errors import Unauthenticated
from appliance.runtime.guard import Guard
from appliance.runtime.problem import answer_to
from appliance.runtime.serving import listening
from appliance.runtime.shortway import Asked, ShortWay, answer
from appliance.runtime.tls import client_context, server_context
from tests.fakes.authority import FakeAuthority
from tests.fakes.clock import FakeClock
from tests.unit.runtime.test_guard import Bounds

HOST, STRANGER = "127.0.0.1", "127.0.0.2"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Hand(FakeClock):
    """A clock that is turned by hand, also where no test loop looks on."""

    def turn(self, seconds: float) -> None:
        self._monotonic_s += seconds


class Served:
    """The port, and the way to it."""

    def __init__(self) -> None:
        self.authority = FakeAuthority()
        self.clock = Hand()
        self.writers: list[asyncio.StreamWriter] = []
        self.guard = Guard(Bounds(), self.clock)
        self.port = 0

    async def serve(self, asked: Asked) -> bytes:
        if "authorization" not in asked.headers:
            raise Unauthenticated
        return answer(HTTPStatus.CREATED, b"{}", "/v1/things")

    async def connect(self, address: str) -> Streams:
        root = self.authority.root_pem.decode()
        context = client_context(authority=root, judge=lambda _: None, identity=None)
        return self._kept(
            await asyncio.open_connection(HOST, self.port, ssl=context, local_addr=(address, 0))
        )

    async def plain(self, address: str) -> Streams:
        return self._kept(await asyncio.open_connection(HOST, self.port, local_addr=(address, 0)))

    def pass_time(self, seconds: float) -> None:
        self.clock.turn(seconds)
        self.guard.sweep()

    def _kept(self, streams: Streams) -> Streams:
        self.writers.append(streams[1])
        return streams


@asynccontextmanager
async def serving() -> AsyncIterator[Served]:
    served = Served()
    app = web.Application(middlewares=[served.guard.middleware(lambda _: False)])
    app.router.add_get("/", hello)
    context = server_context(served.authority.identity("box.local"), clients=None, minimum="1.3")
    way = ShortWay("/v1/things", 100, served.serve, lambda error: answer_to(error, "POST", "/v1/things"))
    async with listening(app, HOST, 0, way, context=context, guard=served.guard) as served.port:
        try:
            yield served
        finally:
            for writer in served.writers:
                await closed(writer)


async def hello(_request: web.Request) -> web.Response:
    return web.Response(text="hello")


async def ask(streams: Streams, request: bytes) -> bytes:
    reader, writer = streams
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    await reader.readexactly(int(length.split(b":")[1]))
    return head


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def gone(streams: Streams) -> bool:
    """Wait for the end of a connection."""
    with suppress(OSError):
        await streams[0].read()
    await closed(streams[1])
    return True


GET = b"GET / HTTP/1.1\r\nHost: box\r\n\r\n"
SALE = (
    b"POST /v1/things HTTP/1.1\r\nHost: box\r\nContent-Type: application/json\r\n"
    b"Content-Length: 2\r\nAuthorization: x\r\n\r\n{}"
)
Scene = Callable[[Served], Coroutine[Any, Any, None]]


async def an_address_with_all_its_connections_gets_no_other_until_one_ends(served: Served) -> None:
    mine = [await served.connect(STRANGER) for _ in range(3)]
    assert all([b"200 OK" in await ask(one, GET) for one in mine])
    with pytest.raises((OSError, ssl.SSLError)):
        await served.connect(STRANGER)
    assert b"200 OK" in await ask(await served.connect("127.0.0.3"), GET)
    await closed(mine[0][1])
    assert b"200 OK" in await ask(await served.connect(STRANGER), GET)


async def a_stalled_handshake_and_garbage_are_cut_and_leave_no_descriptor(served: Served) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    stalled = await served.plain(STRANGER)
    stalled[1].write(b"\x16\x03\x01\x02\x00\x01")
    garbage = await served.plain(STRANGER)
    garbage[1].write(b"GET / HTTP/1.1\r\n\r\n")
    assert await gone(garbage)
    served.pass_time(5.0)
    assert await gone(stalled)
    last = await served.connect(STRANGER)
    assert b"200 OK" in await ask(last, GET)
    await closed(last[1])
    served.pass_time(1.0)
    assert len(os.listdir("/proc/self/fd")) <= before + 1  # noqa: PTH208


async def a_slow_head_is_cut_after_ten_seconds_however_often_a_byte_comes(served: Served) -> None:
    slow = await served.connect(STRANGER)
    for byte in b"GET / HTT":
        slow[1].write(bytes([byte]))
        await slow[1].drain()
        served.pass_time(1.0)
    assert not slow[0].at_eof()
    served.pass_time(1.0)
    assert await gone(slow)


async def a_till_keeps_its_connection_and_a_stranger_does_not(served: Served) -> None:
    till, stranger, other = [await served.connect(STRANGER) for _ in range(3)]
    assert b"201" in await ask(till, SALE)
    assert b"401" in await ask(stranger, SALE.replace(b"Authorization", b"X-Other"))
    assert b"200" in await ask(other, GET)
    served.pass_time(10.0)
    assert await gone(stranger)
    assert await gone(other)
    served.pass_time(100.0)
    assert b"201" in await ask(till, SALE)


async def what_is_not_http_is_told_so_as_a_problem(served: Served) -> None:
    for request in (b"\x00\x01\x02\r\n\r\n", GET[:-2] + b"X: 1\r\n" * 100 + b"\r\n"):
        head = await ask(await served.connect("127.0.0.1"), request)
        assert b" 400 " in head
        assert b"application/problem+json" in head


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize(
    "scene",
    [
        an_address_with_all_its_connections_gets_no_other_until_one_ends,
        a_stalled_handshake_and_garbage_are_cut_and_leave_no_descriptor,
        a_slow_head_is_cut_after_ten_seconds_however_often_a_byte_comes,
        a_till_keeps_its_connection_and_a_stranger_does_not,
        what_is_not_http_is_told_so_as_a_problem,
    ],
)
def test_a_guarded_port(factory: Callable[[], asyncio.AbstractEventLoop], scene: Scene) -> None:
    async def run() -> None:
        async with asyncio.timeout(20), serving() as served:
            await scene(served)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(run())

"""The short way answers what is plainly its own; everything else is answered as if it were not there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus

import pytest
from aiohttp import web

from appliance.domain.errors import Busy
from appliance.runtime.problem import answer_to
from appliance.runtime.serving import listening
from appliance.runtime.shortway import HEAD_BYTES_MAX, Asked, ShortWay, answer

HOST, PATH, BYTES_MAX = "127.0.0.1", "/v1/things", 1_000


class Server:
    """A port with a short way, and what came by which way."""

    def __init__(self, **times: float) -> None:
        self.shortly: list[bytes] = []
        self.aside: list[bytes] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.begun_aside = asyncio.Event()
        self.port = 0
        self.way = ShortWay(
            PATH, BYTES_MAX, self._serve, partial(answer_to, method="POST", path=PATH), **times
        )

    async def _serve(self, asked: Asked) -> bytes:
        self.shortly.append(asked.body)
        await self.may_answer.wait()
        if asked.body == b"busy":
            raise Busy(retry_after_s=7)
        if asked.body == b"bug":
            raise ZeroDivisionError
        return answer(HTTPStatus.CREATED, b"short:" + asked.body, PATH)

    async def _handle(self, request: web.Request) -> web.Response:
        self.begun_aside.set()
        body = await request.read()
        self.aside.append(body)
        return web.Response(body=b"aside:" + body)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Server"]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        async with listening(app, HOST, 0, self.way) as self.port:
            yield self


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await self._reader.readexactly(int(headers["content-length"]))
        return int(first.split()[1]), headers, body

    async def ended(self) -> bytes:
        """What still comes until the server closes."""
        return await self._reader.read()


@asynccontextmanager
async def a_client(server: Server) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection(HOST, server.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


def post(body: bytes, *lines: str, path: str = PATH, length: str | None = None) -> bytes:
    fields = ["Host: box", "Content-Type: application/json", f"Content-Length: {length or len(body)}", *lines]
    return (
        f"POST {path} HTTP/1.1\r\n{''.join(field + chr(13) + chr(10) for field in fields)}\r\n".encode()
        + body
    )


async def test_requests_on_one_connection_are_answered_one_after_another_also_when_sent_at_once() -> None:
    async with Server().serving() as server, a_client(server) as client:
        client.send(post(b"1"))
        status, headers, body = await client.answer()
        assert (status, body) == (201, b"short:1")
        assert headers.keys() == {
            *("content-type", "content-length", "location", "date"),
            *("x-content-type-options", "cache-control", "server"),
        }
        client.send(post(b"2") + post(b"3") + post(b"4"))
        assert [(await client.answer())[2] for _ in range(3)] == [b"short:2", b"short:3", b"short:4"]
    assert (server.shortly, server.aside) == ([b"1", b"2", b"3", b"4"], [])


async def test_a_body_may_come_in_pieces() -> None:
    async with Server().serving() as server, a_client(server) as client, a_client(server) as other:
        whole = post(b"x" * BYTES_MAX)
        client.send(whole[:-5])
        other.send(post(b"between"))
        assert (await other.answer())[2] == b"short:between"
        client.send(whole[-5:])
        assert (await client.answer())[2] == b"short:" + b"x" * BYTES_MAX


PLAIN = post(b"{}")


@pytest.mark.parametrize(
    ("request_bytes", "body"),
    [
        (b"GET / HTTP/1.1\r\nHost: box\r\n\r\n", b""),
        (post(b"{}", path=PATH + "/"), b"{}"),
        (post(b"{}", path=PATH + "?x=1"), b"{}"),
        (
            PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0", 1).replace(b"Host", b"Connection: keep-alive\r\nHost"),
            b"{}",
        ),
        (PLAIN.replace(b"application/json", b"text/plain"), b"{}"),
        (PLAIN.replace(b"application/json", b"application/json; charset=utf-8"), b"{}"),
        (post(b"{}", "Content-Encoding: identity"), b"{}"),
        (post(b"{}", "X-A: 1", "X-A: 2"), b"{}"),
        (post(b"{}", "X-A: caf\u00e9"), b"{}"),
        (post(b"x" * (BYTES_MAX + 1)), b"x" * (BYTES_MAX + 1)),
        (post(b"{}", *(f"X-{name}: " + "x" * (HEAD_BYTES_MAX // 3) for name in "ABC")), b"{}"),
        (post(b"{}", "Origin: https://shop.example"), b"{}"),
        (
            b"POST /v1/things HTTP/1.1\r\nHost: box\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            b"{}",
        ),
    ],
)
async def test_what_is_not_plainly_its_own_steps_aside_and_stays_there(
    request_bytes: bytes, body: bytes
) -> None:
    async with Server().serving() as server, a_client(server) as client:
        client.send(request_bytes)
        assert (await client.answer())[2] == b"aside:" + body
        client.send(PLAIN)
        assert (await client.answer())[2] == b"aside:{}"
    assert server.shortly == []


@pytest.mark.parametrize(
    "request_bytes",
    [
        post(b"{}", length="+2"),
        post(b"{}", length="2, 2"),
        post(b"{}").replace(b"Content-Length: 2\r\n", b"Content-Length: 2\r\nContent-Length: 3\r\n"),
        post(b"{}", "X-A : 1"),
        post(b"{}", "X-A: 1\r\n continued"),
        PLAIN.replace(b"\r\n", b"\n"),
        b"\x16\x03\x01\x02\x00",
    ],
)
async def test_what_could_be_read_in_two_ways_is_never_read_here(request_bytes: bytes) -> None:
    async with Server().serving() as server, a_client(server) as client:
        client.send(request_bytes + b"\r\n\r\n")
        await client.answer()
    assert server.shortly == []


async def test_a_connection_may_leave_the_short_way_with_what_it_has_sent_already() -> None:
    async with Server().serving() as server, a_client(server) as client:
        server.may_answer.clear()
        client.send(PLAIN + b"GET / HTTP/1.1\r\nHost: box\r\n\r\n" + post(b"last"))
        server.may_answer.set()
        assert [(await client.answer())[2] for _ in range(3)] == [b"short:{}", b"aside:", b"aside:last"]


async def test_who_waits_for_leave_to_send_a_body_gets_it() -> None:
    async with Server().serving() as server, a_client(server) as client:
        client.send(post(b"", "Expect: 100-continue", length="2"))
        assert (await client._reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        client.send(b"{}")
        assert (await client.answer())[2] == b"aside:{}"


async def test_a_body_that_does_not_come_is_left_to_who_loses_patience_with_it() -> None:
    async with Server(body_s=0.01).serving() as server, a_client(server) as client:
        client.send(PLAIN[:-1])
        await server.begun_aside.wait()
        client.send(PLAIN[-1:])
        assert (await client.answer())[2] == b"aside:{}"


async def test_an_error_is_a_problem_and_a_bug_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with Server().serving() as server, a_client(server) as client:
        client.send(post(b"busy"))
        status, headers, body = await client.answer()
        assert (status, headers["retry-after"], headers["content-type"]) == (
            503,
            "7",
            "application/problem+json",
        )
        assert b'"code":"busy"' in body
        client.send(post(b"bug"))
        status, _, body = await client.answer()
        assert (status, b"ZeroDivision" in body) == (500, False)
        client.send(PLAIN)
        assert (await client.answer())[2] == b"short:{}"
    assert "request.failed" in caplog.text


async def test_a_request_at_hand_is_answered_before_the_port_closes() -> None:
    server = Server()
    async with a_stopping(server) as (client, stopping):
        server.may_answer.set()
        assert (await client.answer())[2] == b"short:{}"
        assert await client.ended() == b""
        await stopping


@asynccontextmanager
async def a_stopping(server: Server) -> AsyncIterator[tuple[Client, "asyncio.Task[None]"]]:
    """A server that was told to stop while it has a request at hand."""
    stop, up = asyncio.Event(), asyncio.Event()

    async def run() -> None:
        async with server.serving():
            up.set()
            await stop.wait()

    running = asyncio.create_task(run())
    await up.wait()
    async with a_client(server) as client:
        server.may_answer.clear()
        client.send(PLAIN)
        async with a_client(server) as other:  # answered aside: by then the first has been read
            other.send(b"GET / HTTP/1.1\r\nHost: box\r\n\r\n")
            await other.answer()
        stop.set()
        yield client, running


async def test_who_goes_on_sending_without_being_answered_is_cut_off() -> None:
    async with Server().serving() as server, a_client(server) as client:
        server.may_answer.clear()
        for _ in range(100):
            client.send(post(b"x" * BYTES_MAX))
        assert await client.ended() == b""
        server.may_answer.set()
    assert server.shortly == [b"x" * BYTES_MAX]


async def test_a_connection_that_asks_nothing_is_closed() -> None:
    async with Server(idle_s=0.01).serving() as server, a_client(server) as client:
        client.send(PLAIN)
        assert (await client.answer())[2] == b"short:{}"
        assert await client.ended() == b""

"""A port is served while inside the block, and free afterwards."""

import asyncio
import gzip
import logging
import socket
from http import HTTPStatus

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from appliance.domain.errors import ConfigError
from appliance.runtime.problem import answer_to
from appliance.runtime.serving import listening
from appliance.runtime.shortway import Asked, ShortWay, answer
from appliance.runtime.tls import client_context, server_context
from tests.fakes.authority import FakeAuthority

HOST = "127.0.0.1"


async def echo(request: web.Request) -> web.Response:
    return web.Response(body=await request.read())


def an_app() -> web.Application:
    app = web.Application()
    app.router.add_post("/", echo)
    return app


async def post(port: int, body: bytes, **headers: str) -> bytes:
    url = f"http://{HOST}:{port}/"
    async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=headers) as response:
        return await response.read()


async def test_the_port_that_was_bound_answers_and_is_closed_afterwards() -> None:
    async with listening(an_app(), HOST, 0) as port:
        assert port > 0
        assert await post(port, b"hello") == b"hello"

    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(HOST, port)


async def test_several_hosts_are_served_at_one_port() -> None:
    async with listening(an_app(), (HOST, "127.0.0.2"), 0) as port:
        for host in (HOST, "127.0.0.2"):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()


async def test_a_port_that_is_taken_at_one_of_the_hosts_is_bound_at_none() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.2", 0))
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.2:{port}"):
            async with listening(an_app(), (HOST, "127.0.0.2"), port):
                pass
        with socket.socket() as free:
            free.bind((HOST, port))


async def test_a_port_can_be_served_again_at_once() -> None:
    async with listening(an_app(), HOST, 0) as port:
        await post(port, b"")
    async with listening(an_app(), HOST, port) as again:
        assert await post(again, b"back") == b"back"


async def test_a_compressed_body_arrives_as_it_was_sent() -> None:
    # A batch is small on the wire and large unpacked: only who knows its limit may unpack it.
    packed = gzip.compress(b"hello")
    async with listening(an_app(), HOST, 0) as port:
        assert await post(port, packed, **{"Content-Encoding": "gzip"}) == packed


async def test_a_short_way_over_tls_knows_the_clients_certificate_and_address() -> None:
    authority, seen = FakeAuthority(), []

    async def serve(asked: Asked) -> bytes:
        seen.append((asked.certificate, asked.remote))
        return answer(HTTPStatus.CREATED, b"{}", "/v1/things")

    def told(error: Exception) -> web.Response:
        return answer_to(error, "POST", "/v1/things")

    mine, chain = authority.identity("till-1")
    context = server_context(
        authority.identity("box.local"), clients=authority.root_pem.decode(), minimum="1.3"
    )
    way = ShortWay("/v1/things", 100, serve, told)
    shown = x509.load_pem_x509_certificate(chain).fingerprint(SHA256()).hex()
    async with listening(an_app(), HOST, 0, way, context=context) as port:
        for identity in ((mine, chain), None):
            client = client_context(
                authority=authority.root_pem.decode(), judge=lambda _: None, identity=identity
            )
            async with aiohttp.ClientSession() as session:
                for path, status in (("/v1/things", 201), ("/", 200)):  # the second one steps aside
                    url = f"https://{HOST}:{port}{path}"
                    async with session.post(url, json={}, ssl=client) as response:
                        assert response.status == status

    assert seen == [(shown, HOST), (None, HOST)]


async def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"{HOST}:{port}.*in use"):
            async with listening(an_app(), HOST, port):
                pytest.fail("two on one port")


async def test_an_address_that_is_not_ours_is_named() -> None:
    # TEST-NET-1 (RFC 5737): nobody's.
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1"):
        async with listening(an_app(), "192.0.2.1", 0):
            pytest.fail("not our address")


async def test_requests_leave_no_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with listening(an_app(), HOST, 0) as port:
            await post(port, b"a customer")

    assert not [record for record in caplog.records if record.name.startswith("aiohttp")]


@pytest.mark.slow
async def test_a_stream_that_never_ends_does_not_keep_the_box_from_stopping() -> None:
    begun = asyncio.Event()

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        begun.set()
        await asyncio.Event().wait()
        return response

    app = web.Application()
    app.router.add_get("/", stream)
    async with asyncio.timeout(10):
        async with listening(app, HOST, 0) as port:
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(b"GET / HTTP/1.1\r\nHost: box\r\n\r\n")
            await begun.wait()
        await reader.read()
        writer.close()


async def test_what_the_application_holds_is_given_back() -> None:
    given_back = []
    app = an_app()

    async def give_back(_: web.Application) -> None:
        given_back.append(True)

    app.on_cleanup.append(give_back)
    with pytest.raises(RuntimeError):
        async with listening(app, HOST, 0):
            raise RuntimeError

    assert given_back == [True]

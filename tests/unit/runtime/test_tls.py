"""TLS contexts, over real connections: keys, names and chains by OpenSSL, dates by trusted time."""

import asyncio
import hashlib
import http.client
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
import uvloop
from aiohttp import ClientConnectorCertificateError, ClientError, ClientSession, web
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from appliance.runtime.certificates import key_spki, private_pem
from appliance.runtime.tls import (
    JudgedContext,
    client_context,
    dates_judge,
    load_identity,
    pinned_context,
    server_context,
    spki_of,
)
from appliance.runtime.trusted_time import TrustedClock
from tests.fakes.authority import YEAR, FakeAuthority, a_key
from tests.fakes.clock import OPENING, FakeClock

AUTHORITY = FakeAuthority()
ROOT = AUTHORITY.root_pem.decode()
KEY = a_key()

Serve = Callable[[JudgedContext], Awaitable[int]]


def identity(begins_after: timedelta = timedelta(), life: timedelta = YEAR) -> tuple[bytes, bytes]:
    chain = AUTHORITY.chain(
        "head.example", KEY.public_key(), addresses=["127.0.0.1"], begins=OPENING + begins_after, life=life
    )
    return private_pem(KEY), chain


def at(wall_after: timedelta, quality: str = "synced", floor_after: timedelta | None = None) -> TrustedClock:
    clock = TrustedClock(FakeClock(OPENING + wall_after), None)
    if floor_after is not None:
        clock.confirm(OPENING + floor_after)
    clock._inner.quality = quality  # type: ignore[attr-defined]
    return clock


@asynccontextmanager
async def serving() -> AsyncIterator[Serve]:
    """Serve who-are-you on a free port of loopback: the hash of the client's certificate, or nothing."""
    runners: list[web.AppRunner] = []

    async def who(request: web.Request) -> web.Response:
        assert request.transport is not None
        der = request.transport.get_extra_info("ssl_object").getpeercert(True)
        return web.Response(text="" if der is None else hashlib.sha256(der).hexdigest())

    async def start(context: JudgedContext) -> int:
        app = web.Application()
        app.router.add_get("/", who)
        runner = web.AppRunner(app)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        return int(runner.addresses[0][1])

    try:
        yield start
    finally:
        for runner in runners:
            await runner.cleanup()


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with serving() as start:
        yield start


async def ask(port: int, context: ssl.SSLContext) -> str:
    async with ClientSession() as session, session.get(f"https://127.0.0.1:{port}/", ssl=context) as answer:
        return await answer.text()


def a_client(clock: TrustedClock, authority: FakeAuthority = AUTHORITY) -> JudgedContext:
    return client_context(authority=authority.root_pem.decode(), judge=dates_judge(clock), identity=None)


async def test_a_server_of_the_authority_is_believed(serve: Serve) -> None:
    port = await serve(server_context(identity(), clients=None, minimum="1.3"))

    assert await ask(port, a_client(at(timedelta(), floor_after=timedelta()))) == ""


async def test_another_authority_is_not(serve: Serve) -> None:
    port = await serve(server_context(identity(), clients=None, minimum="1.3"))

    with pytest.raises(ClientConnectorCertificateError):
        await ask(port, a_client(at(timedelta()), FakeAuthority()))


@pytest.mark.parametrize("wrong_by", [timedelta(days=-365 * 50), timedelta(days=365 * 50)])
async def test_a_wrong_wall_clock_alone_refuses_nobody(serve: Serve, wrong_by: timedelta) -> None:
    port = await serve(server_context(identity(), clients=None, minimum="1.3"))

    assert await ask(port, a_client(at(wrong_by, "unknown", floor_after=timedelta()))) == ""


async def test_a_certificate_that_has_certainly_ended_is_refused(serve: Serve) -> None:
    port = await serve(server_context(identity(), clients=None, minimum="1.3"))

    with pytest.raises(ClientConnectorCertificateError, match="ended"):
        await ask(port, a_client(at(timedelta(), "unknown", floor_after=YEAR + timedelta(days=1))))


async def test_a_certificate_of_the_future_is_refused_by_who_knows_the_time(serve: Serve) -> None:
    port = await serve(server_context(identity(begins_after=YEAR), clients=None, minimum="1.3"))

    with pytest.raises(ClientConnectorCertificateError, match="begins"):
        await ask(port, a_client(at(timedelta(), "synced", floor_after=timedelta())))
    assert await ask(port, a_client(at(timedelta(), "unknown", floor_after=timedelta()))) == ""


async def test_who_pins_a_key_needs_no_name_and_no_date(serve: Serve) -> None:
    port = await serve(server_context(identity(begins_after=-2 * YEAR), clients=None, minimum="1.3"))

    assert await ask(port, pinned_context(key_spki(KEY))) == ""
    with pytest.raises(ClientConnectorCertificateError, match="pinned"):
        await ask(port, pinned_context(key_spki(a_key())))


async def test_a_client_is_known_by_its_certificate(serve: Serve) -> None:
    port = await serve(server_context(identity(), clients=ROOT, minimum="1.3"))
    mine, chain = AUTHORITY.identity("sb-1")
    leaf = x509.load_pem_x509_certificate(chain).public_bytes(Encoding.DER)

    assert await ask(port, pinned_context(key_spki(KEY), (mine, chain))) == hashlib.sha256(leaf).hexdigest()
    assert await ask(port, pinned_context(key_spki(KEY))) == ""
    with pytest.raises((ClientError, OSError)):
        await ask(port, pinned_context(key_spki(KEY), FakeAuthority().identity("sb-1")))


async def test_a_certificate_can_be_changed_while_serving(serve: Serve) -> None:
    context = server_context(identity(), clients=None, minimum="1.3")
    port = await serve(context)
    other = a_key()

    chain = AUTHORITY.chain("head.example", other.public_key(), addresses=["127.0.0.1"])
    load_identity(context, private_pem(other), chain)

    assert await ask(port, pinned_context(key_spki(other))) == ""


@pytest.mark.parametrize(
    ("minimum", "spoken", "taken"), [("1.3", "1.2", False), ("1.2", "1.2", True), ("1.2", "1.3", True)]
)
async def test_older_tls_is_spoken_only_when_asked_for(
    serve: Serve, minimum: str, spoken: str, taken: bool
) -> None:
    port = await serve(server_context(identity(), clients=None, minimum=minimum))  # type: ignore[arg-type]
    context = pinned_context(key_spki(KEY))
    version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[spoken]
    context.minimum_version = context.maximum_version = version

    if taken:
        assert await ask(port, context) == ""
    else:
        with pytest.raises((ClientError, OSError)):
            await ask(port, context)


async def test_a_plain_http_client_is_judged_too(serve: Serve) -> None:
    port = await serve(server_context(identity(), clients=None, minimum="1.3"))

    def get(spki: str) -> int:
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=pinned_context(spki), timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status
        finally:
            connection.close()

    assert await asyncio.to_thread(get, key_spki(KEY)) == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.to_thread(get, key_spki(a_key()))


def test_the_daemons_own_loop_is_judged_too() -> None:
    mine = AUTHORITY.identity("sb-1")

    async def both() -> str:
        async with serving() as serve:
            port = await serve(server_context(identity(), clients=ROOT, minimum="1.3"))
            with pytest.raises(ClientConnectorCertificateError, match="pinned"):
                await ask(port, pinned_context(key_spki(a_key())))
            return await ask(port, pinned_context(key_spki(KEY), mine))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert len(runner.run(both())) == 64


def test_a_pin_is_the_hash_of_the_key_not_of_the_certificate() -> None:
    leaves = [x509.load_pem_x509_certificate(identity(after)[1]) for after in (timedelta(), YEAR)]

    assert {spki_of(leaf.public_bytes(Encoding.DER)) for leaf in leaves} == {key_spki(KEY)}

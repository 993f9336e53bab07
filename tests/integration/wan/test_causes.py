"""Why the cloud cannot be reached: real errors of the real client on loopback."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from appliance.domain.errors import BadSignature
from appliance.domain.event import ClockQuality
from appliance.domain.link import Cause
from appliance.gateways.probes import cause_of
from appliance.runtime.clock import SystemClock

# Certificates are judged by the machine's own clock.
CLOCK = SystemClock()

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(handler: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=context)
    async with server:
        scheme = "https" if context else "http"
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def answering(text: bytes) -> Handler:
    """A server that says this to whoever asks, and hangs up."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(text)
        writer.close()

    return answer


async def error_of(
    url: str, *, timeout_s: float = 5.0, context: ssl.SSLContext | None = None
) -> BaseException:
    """What the client raises when it asks for JSON there."""
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, ssl=context or True, allow_redirects=True, max_redirects=1) as response,
        ):
            response.raise_for_status()
            await response.json()
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        return error
    raise AssertionError("the request succeeded")


async def test_a_closed_port_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    assert cause_of(await error_of(f"http://127.0.0.1:{port}")) is Cause.REFUSED


async def test_a_server_that_never_answers_is_no_answer() -> None:
    done = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await done.wait()
        writer.close()

    async with listening(hang) as url:
        error = await error_of(url, timeout_s=0.05)
        done.set()

    assert cause_of(error, "127.0.0.1") is Cause.NO_ANSWER


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"", Cause.NO_ANSWER),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Cause.CAPTIVE_PORTAL),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi", Cause.CAPTIVE_PORTAL),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", Cause.CAPTIVE_PORTAL),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{", Cause.NO_ANSWER),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", Cause.CLOUD_DOWN),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", Cause.REFUSED),
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", Cause.REFUSED),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", Cause.CAPTIVE_PORTAL),
        (b"HTTP/1.1 511 Network Authentication Required\r\nContent-Length: 0\r\n\r\n", Cause.CAPTIVE_PORTAL),
    ],
    ids=["hung up", "other protocol", "html", "redirects", "cut", "502", "403", "401", "404", "511"],
)
async def test_an_answer_that_is_not_the_clouds_names_who_gave_it(answer: bytes, cause: Cause) -> None:
    async with listening(answering(answer)) as url:
        assert cause_of(await error_of(url), "127.0.0.1") is cause


def a_certificate(folder: Path, valid_from_days: int, valid_to_days: int) -> Path:
    """A self-signed certificate and its key in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cloud")])
    now = CLOCK.wall()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now + timedelta(days=valid_from_days))
        .not_valid_after(now + timedelta(days=valid_to_days))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    path = folder / "certificate.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(certificate.public_bytes(Encoding.PEM) + private)
    return path


@pytest.mark.parametrize(
    ("days", "quality", "cause"),
    [
        ((5, 10), None, Cause.CLOCK),
        ((5, 10), "unknown", Cause.CLOCK),
        ((5, 10), "floor", Cause.CLOCK),
        ((5, 10), "synced", Cause.TLS),
        ((-10, -5), "unknown", Cause.CLOCK),
        ((-10, -5), "floor", Cause.TLS),
        ((-10, -5), "synced", Cause.TLS),
    ],
)
async def test_a_certificate_out_of_its_time_tells_of_the_clock_when_that_is_doubtful(
    tmp_path: Path, days: tuple[int, int], quality: ClockQuality | None, cause: Cause
) -> None:
    pem = a_certificate(tmp_path, *days)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    async with listening(answering(b""), context) as url:
        error = await error_of(url, context=ssl.create_default_context(cafile=str(pem)))

    assert cause_of(error, quality=quality) is cause


async def test_a_certificate_by_somebody_else_is_tls(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(a_certificate(tmp_path, -1, 10))

    async with listening(answering(b""), context) as url:
        assert cause_of(await error_of(url), quality="unknown") is Cause.TLS


async def test_a_server_that_speaks_no_tls_is_tls() -> None:
    async with listening(answering(b"HTTP/1.1 200 OK\r\n\r\n")) as url:
        assert cause_of(await error_of(url.replace("http:", "https:"))) is Cause.TLS


def test_an_answer_that_the_cloud_did_not_sign_is_a_captive_portal() -> None:
    assert cause_of(BadSignature("nobody we know")) is Cause.CAPTIVE_PORTAL

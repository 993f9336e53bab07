"""HTTP to one peer, box or cloud: an answer, a refusal in the peer's own words, or no answer. Nothing else.

Whoever does not answer as our peers do (a redirect, a page, an error without problem+json) is something in between:
a captive portal or a proxy. Its word neither accepts nor refuses a sale.
"""

import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, NamedTuple, TypeVar

import aiohttp
import msgspec

from appliance.domain import digest
from appliance.domain.link import Cause
from appliance.runtime.problem import MEDIA_TYPE as PROBLEM_MEDIA
from till.errors import NoAnswer, Refused

CONNECT_S = 2.0
# A box sends something at least every 15 s (a comment, when nothing happens); three missed are a dead line.
SILENCE_S = 45.0
ANSWER_BYTES_MAX = 4 * 1024 * 1024
Kind = TypeVar("Kind")


class Answer(NamedTuple):
    """A good answer (2xx): its status and its verbatim body."""

    status: int
    body: bytes


class _Problem(msgspec.Struct):
    code: str
    detail: str = ""


@asynccontextmanager
async def open_session(token: str | None) -> AsyncIterator[aiohttp.ClientSession]:
    """One session per peer: its connections stay open between requests. No proxies, no cookies."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession(
        headers=headers, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
    ) as session:
        yield session


class Peer:
    """Requests to one base URL over a session that others may share."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base: str,
        *,
        total_s: float,
        context: ssl.SSLContext | None = None,
        token: str | None = None,
    ) -> None:
        """`context`: how TLS is spoken, and with whom; `token`: instead of the session's own."""
        self._session = session
        self.base = base.rstrip("/")
        self._total_s = total_s
        self._context: ssl.SSLContext | bool = True if context is None else context
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    async def get(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        bytes_max: int = ANSWER_BYTES_MAX,
        total_s: float | None = None,
    ) -> Answer:
        """Raises NoAnswer or Refused."""
        return await self._call("GET", path, None, params, bytes_max, total_s or self._total_s)

    async def post(self, path: str, body: bytes) -> Answer:
        """Send JSON that is safe to send twice. Raises NoAnswer or Refused."""
        try:
            return await self._call("POST", path, body, None, ANSWER_BYTES_MAX, self._total_s)
        except NoAnswer as error:
            # A kept connection that the peer closed in the same moment fails like a dead peer; a fresh one tells.
            if not isinstance(error.__cause__, aiohttp.ServerDisconnectedError | ConnectionResetError):
                raise
            return await self._call("POST", path, body, None, ANSWER_BYTES_MAX, self._total_s)

    @asynccontextmanager
    async def stream(self, path: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """The chunks of an answer that does not end. Raises NoAnswer (also while reading) or Refused."""
        timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_S, sock_read=SILENCE_S)
        try:
            async with self._session.get(
                self.base + path,
                headers=self._headers,
                timeout=timeout,
                allow_redirects=False,
                ssl=self._context,
            ) as response:
                if response.status != HTTPStatus.OK:
                    await self._read(response, ANSWER_BYTES_MAX)
                yield response.content.iter_any()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._no_answer(path, error) from error

    async def _call(
        self,
        method: str,
        path: str,
        body: bytes | None,
        params: Mapping[str, str] | None,
        bytes_max: int,
        total_s: float,
    ) -> Answer:
        headers = self._headers
        if body is not None:
            headers = {
                **headers,
                "Content-Type": "application/json",
                digest.HEADER: digest.digest_of(body),
            }
        timeout = aiohttp.ClientTimeout(total=total_s, connect=CONNECT_S)
        try:
            async with self._session.request(
                method,
                self.base + path,
                data=body,
                params=params,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
                ssl=self._context,
            ) as response:
                return Answer(response.status, await self._read(response, bytes_max))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._no_answer(path, error) from error

    async def _read(self, response: aiohttp.ClientResponse, bytes_max: int) -> bytes:
        chunks, count = [], 0
        async for chunk in response.content.iter_any():
            count += len(chunk)
            if count > bytes_max:
                raise self.not_our_words(f"more than {bytes_max} bytes")
            chunks.append(chunk)
        body = b"".join(chunks)
        if response.status < HTTPStatus.MULTIPLE_CHOICES:
            return body
        raise self._refusal(response, body)

    def _refusal(self, response: aiohttp.ClientResponse, body: bytes) -> NoAnswer | Refused:
        if response.content_type != PROBLEM_MEDIA:
            return self.not_our_words(f"HTTP {response.status}, {response.content_type}")
        try:
            members: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any])
            problem = msgspec.convert(members, _Problem)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return self.not_our_words(f"HTTP {response.status}: {error}")
        return Refused(response.status, problem.code, members)

    def parsed(self, answer: Answer, kind: type[Kind]) -> Kind:
        """The answer as what it should be. Raises NoAnswer when it is nothing of ours."""
        try:
            return msgspec.json.decode(answer.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self.not_our_words(f"no {kind.__name__}: {error}") from error

    def not_our_words(self, detail: str) -> NoAnswer:
        """The error for an answer that no peer of ours gives."""
        return NoAnswer(f"{self.base}: {detail}", cause=Cause.CAPTIVE_PORTAL, in_doubt=True)

    def _no_answer(self, path: str, error: Exception) -> NoAnswer:
        before_sending = isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
        told = str(error) or type(error).__name__
        return NoAnswer(f"{self.base}{path}: {told}", cause=_cause(error), in_doubt=not before_sending)


def _cause(error: Exception) -> Cause:
    """The outermost thing that is known to be wrong, as far as a till can see."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return Cause.NO_DNS
        case aiohttp.ClientSSLError() | aiohttp.ClientConnectorCertificateError() | ssl.SSLError():
            return Cause.TLS
        case ConnectionRefusedError() | aiohttp.ServerDisconnectedError() | ConnectionResetError():
            return Cause.CLOUD_DOWN
        case aiohttp.ClientConnectorError(os_error=ConnectionRefusedError()):
            return Cause.CLOUD_DOWN
        case aiohttp.ClientConnectorError(os_error=socket.gaierror()):
            return Cause.NO_DNS
        case aiohttp.ClientConnectorError(os_error=OSError()):
            return Cause.NO_GATEWAY
        case _:
            return Cause.NO_ANSWER

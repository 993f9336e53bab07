"""A short way for the one request that must be fast: a POST that is all there, on a connection of its own.

aiohttp spends twice as much on a request as reading, judging and chaining a sale costs. So a connection whose first
request is the fast one, written plainly, is read here; at the first request that is anything else (another route,
chunks, an expectation, a head that is not of the plainest form, a body that is slow or too large), the connection and
all its unread bytes go to aiohttp for good. Nothing is judged here that aiohttp would judge otherwise.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple, cast

from aiohttp import helpers, web

from appliance.domain.errors import TooMany, Unauthenticated
from appliance.runtime.bodies import JSON
from appliance.runtime.guard import Guard
from appliance.runtime.tls import shown_by

HEAD_BYTES_MAX = 8 * 1024
# A body that has begun and is not there by then is aiohttp's, which knows how to lose patience.
BODY_S = 1.0
# A connection without a request for this long to twice this long is closed; a till opens another.
IDLE_S = 300.0

# Field lines without continuation, quoting or anything beside printable ASCII (a strict part of RFC 9112 section 5).
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([ -~]*)")
# A till says most of its head again with each sale: lines that were read are remembered, half a megabyte at most.
_LINES_MAX, _LINE_CHARS_MAX = 512, 512
_LENGTH = re.compile(r"[0-9]{1,7}")
# What these ask for is not done here; a browser, which sends an origin, is turned away by whoever knows how.
_BEYOND = frozenset(
    {"transfer-encoding", "content-encoding", "expect", "upgrade", "connection", "trailer", "origin"}
)
# On every answer.
_STRICT = "X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\nServer: storebox\r\n"


class Asked(NamedTuple):
    """A request. `headers`: by lower-case name, none twice.

    `remote` is the address it comes from, `certificate` the hash of what its connection showed (tls.shown_by).
    """

    headers: Mapping[str, str]
    body: bytes
    remote: str
    certificate: str | None


class ShortWay(NamedTuple):
    """One route: how many bytes a body may have, who answers (in bytes: `answer`), and how an error is told."""

    path: str
    bytes_max: int
    serve: Callable[[Asked], Awaitable[bytes]]
    told: Callable[[Exception], web.Response]
    body_s: float = BODY_S
    idle_s: float = IDLE_S


def answer(status: HTTPStatus, body: bytes, location: str) -> bytes:
    """The bytes of an answer in JSON."""
    return (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {JSON}\r\nContent-Length: {len(body)}\r\n"
        f"Location: {location}\r\n{_STRICT}Date: {helpers.rfc822_formatted_time()}\r\n\r\n"
    ).encode("ascii") + body


class Connections:
    """All connections of one listener. `aside` makes aiohttp's protocol for those that leave the short way.

    A `guard` hears of each request.
    """

    def __init__(
        self, way: ShortWay, aside: Callable[[], asyncio.Protocol], guard: Guard | None = None
    ) -> None:
        self.way = way
        self.aside = aside
        self.guard = guard
        self.open: set[_Connection] = set()
        self.closing = False

    def __call__(self) -> asyncio.Protocol:
        """A protocol for a new connection."""
        return _Connection(self)

    async def close(self, within_s: float) -> None:
        """Let requests at hand be answered, and close."""
        self.closing = True
        tasks = [connection.task for connection in self.open if connection.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=within_s)
        for connection in list(self.open):
            connection.close()


class _Connection(asyncio.Protocol):
    def __init__(self, connections: Connections) -> None:
        self._all = connections
        self._way = connections.way
        self._guard = connections.guard
        self._begin = f"POST {self._way.path} HTTP/1.1\r\n".encode("ascii")
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._unread = b""
        self._patience: asyncio.TimerHandle | None = None
        self._served = False
        self.task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        peer = transport.get_extra_info("peername")
        self._remote = str(peer[0]) if peer else ""
        self._certificate = shown_by(transport)
        self._all.open.add(self)
        self._idle = self._loop.call_later(self._way.idle_s, self._end_when_idle)

    def data_received(self, data: bytes) -> None:
        self._unread = self._unread + data if self._unread else data
        if self.task is None:
            self._next()
        elif len(self._unread) > HEAD_BYTES_MAX + self._way.bytes_max:
            self.close()  # it goes on sending while it has not been answered

    def pause_writing(self) -> None:
        self._transport.abort()  # it does not read its answers

    def connection_lost(self, _error: Exception | None) -> None:
        self._leave()

    def close(self) -> None:
        """Close once what was written has gone out."""
        self._leave()
        self._transport.close()

    def _leave(self) -> None:
        self._all.open.discard(self)
        self._idle.cancel()
        if self._patience is not None:
            self._patience.cancel()

    def _next(self) -> None:
        """Serve the request at hand, wait for the rest of it, or step aside."""
        head = _head_of(self._unread, self._begin)
        length = -1 if head is None else _length_of(head.headers)
        if head is None or not 0 <= length <= self._way.bytes_max:
            self._step_aside()
            return
        end = head.bytes + length
        if len(self._unread) < end:
            self._patience = self._patience or self._loop.call_later(self._way.body_s, self._step_aside)
            return
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        asked = Asked(head.headers, self._unread[head.bytes : end], self._remote, self._certificate)
        self._unread = self._unread[end:]
        self._served = True
        if self._guard is not None:
            self._guard.busy(self._transport)
        self.task = self._loop.create_task(self._serve(asked))

    async def _serve(self, asked: Asked) -> None:
        patience_s: float | None = self._way.idle_s
        try:
            answered = await self._way.serve(asked)
        except Exception as error:
            answered = _written(self._way.told(error))
            if isinstance(error, Unauthenticated | TooMany):
                patience_s = None
        self.task = None
        if self._guard is not None:
            self._guard.idle(self._transport, patience_s)
        if self._transport.is_closing():
            return
        self._transport.write(answered)
        if self._all.closing:
            self.close()
        elif self._unread:
            self._next()

    def _step_aside(self) -> None:
        self._leave()
        aside = self._all.aside()
        self._transport.set_protocol(aside)
        aside.connection_made(self._transport)
        aside.data_received(self._unread)

    def _end_when_idle(self) -> None:
        if not self._served and self.task is None:
            self.close()
            return
        self._served = False
        self._idle = self._loop.call_later(self._way.idle_s, self._end_when_idle)


class _Head(NamedTuple):
    headers: dict[str, str]
    bytes: int


def _head_of(received: bytes, begin: bytes) -> _Head | None:
    """The head that `received` begins with; None when it is not all there, not plain, or of another request."""
    if not received.startswith(begin):
        return None
    end = received.find(b"\r\n\r\n", 0, HEAD_BYTES_MAX)
    if end < 0:
        return None
    lines = received[len(begin) : end].decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        field = _field(line) if len(line) <= _LINE_CHARS_MAX else _field.__wrapped__(line)
        if field is None:
            return None
        headers[field[0]] = field[1]
    return _Head(headers, end + 4) if len(headers) == len(lines) else None


@lru_cache(_LINES_MAX)
def _field(line: str) -> tuple[str, str] | None:
    """A field's name in lower case and its value; None when the line is not plain."""
    read = _FIELD.fullmatch(line)
    return None if read is None else (read[1].lower(), read[2].rstrip())


def _length_of(headers: Mapping[str, str]) -> int:
    """How long the body is; -1 when this is not the plainest POST of JSON."""
    length = headers.get("content-length", "")
    plain = "host" in headers and headers.get("content-type") == JSON and _LENGTH.fullmatch(length)
    if not plain or not (_BEYOND.isdisjoint(headers) or _only_kept_alive(headers)):
        return -1
    return int(length)


def _only_kept_alive(headers: Mapping[str, str]) -> bool:
    asked = _BEYOND & headers.keys()
    return asked == {"connection"} and headers["connection"].lower() == "keep-alive"


def _written(response: web.Response) -> bytes:
    body = response.body if isinstance(response.body, bytes) else b""
    status = HTTPStatus(response.status)
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{k}: {v}" for k, v in response.headers.items())]
    lines += [f"Content-Length: {len(body)}", f"Date: {helpers.rfc822_formatted_time()}"]
    return ("\r\n".join(lines) + "\r\n" + _STRICT + "\r\n").encode("latin-1") + body

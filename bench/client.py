"""Tills that press: `python -m bench.client` reads a `Job` as JSON, loads a server, and prints an `Outcome` as JSON.

Every client has one connection and one request on its way at most. The client is a bare protocol, since with two cores
whatever it costs is missing to the server.
"""

import asyncio
import itertools
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import cast

import msgspec
import uvloop

from appliance.domain.catalogue import Article
from appliance.domain.sale import Sale
from appliance.runtime.clock import rfc3339
from bench.load import Job, Outcome, Till, outcome
from bench.processes import Failed
from bench.sales import OPENING, fresh_ids, make_sales

# Different baskets per till; what makes each sale new is its id.
BASKETS = 8
# Part of the asked time that runs before anything counts: connections, caches, the first checkpoint.
WARM_UP = 0.2
# A run goes on until something has been answered, but not beyond this.
PATIENCE_S = 10.0

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"


def sale_requests(till: Till, articles: Sequence[Article], rng: random.Random) -> Iterator[bytes]:
    """POSTs of sales that no box has seen and none would flag, for ever: ids and ticket numbers count on."""
    ids, first = (
        fresh_ids(rng),
        time.time_ns() // 100_000,
    )  # ahead of each earlier run's, up to 10,000 sales/s
    frames = [
        _frame(till, sale, first) for sale in itertools.islice(make_sales(articles, till.name, rng), BASKETS)
    ]
    for number, (head, between, after) in enumerate(itertools.cycle(frames), first):
        yield b"%b%b%b%d%b" % (head, next(ids).encode(), between, number, after)


def _frame(till: Till, sale: Sale, ticket_number: int) -> tuple[bytes, bytes, bytes]:
    """A request around its sale id and its ticket number. All baskets end at one time: a clock never goes back."""
    at = rfc3339(OPENING)
    body = msgspec.structs.replace(
        sale, ticket_number=ticket_number, business_date=at[:10], started_at=at, ended_at=at
    ).encode()
    head = (
        f"POST /v1/sales HTTP/1.1\r\nHost: box\r\nAuthorization: Bearer {till.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    before, _, rest = body.partition(sale.sale_id.encode())
    between, _, after = rest.partition(str(ticket_number).encode())
    return head.encode() + before, between, after


def lookup_requests(till: Till, articles: Sequence[Article], rng: random.Random) -> Iterator[bytes]:
    """GETs of articles by their codes, for ever."""
    codes = [article.gtins[0] for article in articles if article.gtins]
    while True:
        yield (
            f"GET /v1/articles?gtin={rng.choice(codes)} HTTP/1.1\r\nHost: box\r\n"
            f"Authorization: Bearer {till.token}\r\n\r\n"
        ).encode()


def answer_bytes(received: bytes) -> int | None:
    """How long the answer that begins here is as a whole; None while its head is not complete."""
    head_end = received.find(_HEAD_END)
    if head_end < 0:
        return None
    length = _LENGTH.search(received, 0, head_end + len(_HEAD_END))
    if length is None:
        raise Failed(f"an answer without a length: {received[:200]!r}")
    return head_end + len(_HEAD_END) + int(length[1])


def payload_bytes(job: Job) -> float:
    """How long the body of a sale of this load is, on average."""
    first = [request for stream in _streams(job) for request in itertools.islice(stream, BASKETS)]
    return sum(len(request.partition(_HEAD_END)[2]) for request in first) / len(first)


class Pace:
    """When a client sends: on average every so many seconds, never twice the same."""

    def __init__(self, every_s: float, rng: random.Random) -> None:
        self._every_ns = every_s * 1e9
        self._rng = rng
        self._due_ns = time.perf_counter_ns() + int(self._every_ns * rng.random())

    def next_ns(self) -> int:
        """When the next request is due (perf_counter_ns)."""
        due_ns = self._due_ns
        self._due_ns += int(self._every_ns * self._rng.uniform(0.5, 1.5))
        return due_ns


class Client(asyncio.Protocol):
    """One connection; with a pace it sends when that says so, without it is never without a request."""

    def __init__(
        self,
        requests: Iterator[bytes],
        wanted: bytes,
        told: Callable[[int], None],
        failed: asyncio.Future[None],
        pace: Pace | None,
    ) -> None:
        self._pace = pace
        self._requests = requests
        self._wanted = wanted
        self._told = told
        self._received = b""
        self._sent_ns = 0
        self._failed = failed
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._go_on()

    def data_received(self, data: bytes) -> None:
        """Count a complete answer and go on."""
        received = self._received + data if self._received else data
        whole = answer_bytes(received)
        if whole is None or len(received) < whole:
            self._received = received
            return
        self._received = b""
        if not received.startswith(self._wanted):
            self.connection_lost(Failed(received[:1000].decode(errors="replace")))
            return
        self._told(time.perf_counter_ns() - self._sent_ns)
        self._go_on()

    def connection_lost(self, error: Exception | None) -> None:
        """A server that hangs up fails the run."""
        if not self._failed.done():
            self._failed.set_exception(error or Failed("the server closed the connection"))

    def close(self) -> None:
        """End."""
        if self._transport is not None:
            self._transport.abort()

    def _go_on(self) -> None:
        if self._pace is None:
            self._send()
            return
        due_ns, now_ns = self._pace.next_ns(), time.perf_counter_ns()
        if due_ns <= now_ns:
            self._send(due_ns)
        else:
            asyncio.get_running_loop().call_later((due_ns - now_ns) / 1e9, self._send)

    def _send(self, due_ns: int | None = None) -> None:
        assert self._transport is not None  # connected
        if self._transport.is_closing():
            return
        request = next(self._requests)
        self._sent_ns = due_ns or time.perf_counter_ns()
        self._transport.write(request)


async def press(job: Job) -> Outcome:
    """Load the server with all clients at once for the asked time."""
    taken_ns: list[int] = []
    wanted = b"HTTP/1.1 200" if job.lookups else b"HTTP/1.1 201"
    # Made before anybody connects: what it costs must not fall into the time that counts.
    first = [itertools.chain([next(stream)], stream) for stream in _streams(job)]
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    clients = [
        Client(stream, wanted, taken_ns.append, failed, _pace(job, number))
        for number, stream in enumerate(first)
    ]
    try:
        for client in clients:
            await asyncio.get_running_loop().create_connection(partial(_same, client), job.host, job.port)
        await _unless_failed(failed, job.seconds * WARM_UP)
        warmed_up, began = len(taken_ns), time.perf_counter()
        await _unless_failed(failed, job.seconds)
        while len(taken_ns) == warmed_up and time.perf_counter() - began < PATIENCE_S:
            await _unless_failed(failed, job.seconds)
        counted, seconds = taken_ns[warmed_up:], time.perf_counter() - began
    finally:
        failed.cancel()
        for client in clients:
            client.close()
    if not counted:
        raise Failed(f"no answer within {PATIENCE_S} s")
    return outcome(counted, seconds, served=len(taken_ns))


def _streams(job: Job) -> list[Iterator[bytes]]:
    make = lookup_requests if job.lookups else sale_requests
    tills = itertools.cycle(job.tills)
    return [
        make(next(tills), job.articles, random.Random(job.seed * 1_000 + number))
        for number in range(job.clients)
    ]


def _pace(job: Job, number: int) -> Pace | None:
    return Pace(job.clients / job.per_s, random.Random(number)) if job.per_s else None


async def _unless_failed(failed: asyncio.Future[None], seconds: float) -> None:
    await asyncio.wait([failed], timeout=seconds)
    if failed.done():
        failed.result()


def _same(client: Client) -> Client:
    return client


def main() -> None:
    """One job from standard input; the outcome goes to standard output."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        done = runner.run(press(job))
    sys.stdout.buffer.write(msgspec.json.encode(done))


if __name__ == "__main__":
    main()

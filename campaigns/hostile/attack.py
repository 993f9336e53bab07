"""The attackers: a rogue till with an identity of its own, and strangers from everywhere."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack, closing, suppress
from typing import NamedTuple

from appliance.runtime.tls import pinned_context
from campaigns.hostile.requests import Request, with_token
from campaigns.hostile.shop import Paired, Target

# So many at once; strangers come from addresses of their own, since one gets little.
AT_ONCE = 24
# How long an answer is waited for: what is no request never gets one.
ANSWER_S = 1.0
# A slow client sends a byte this often, and must have been cut by then: the longest limit and what a busy machine adds.
BYTE_S = 0.5
CUT_WITHIN_S = 20.0

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Answered(NamedTuple):
    """A status, or why there was none; and how the answer began."""

    outcome: str
    text: str
    route: str


class Attack:
    """Sends bad things and remembers what came back."""

    def __init__(self, target: Target, rogue: Paired, rng: random.Random) -> None:
        self._target = target
        self._rogue = rogue
        self._rng = rng
        self._with_identity = pinned_context(target.spki, rogue.identity)
        self._without = pinned_context(target.spki)
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.suspicious: list[Answered] = []
        self.uncut: list[str] = []

    async def send_all(self, work: Iterable[Request], per_s: float) -> None:
        """Send everything, at most so many a second."""
        queue: asyncio.Queue[Request] = asyncio.Queue(AT_ONCE)
        workers = [asyncio.create_task(self._work(queue)) for _ in range(AT_ONCE)]
        begun_s = time.perf_counter()
        for number, request in enumerate(work):
            await asyncio.sleep(max(0.0, begun_s + number / per_s - time.perf_counter()))
            await queue.put(request)
        await queue.join()
        for worker in workers:
            worker.cancel()
        await asyncio.wait(workers)

    async def dawdle(self, number: int) -> None:
        """One that never comes to an end: in its handshake, its head or its body. The box has to end it."""
        kind = ("handshake", "head", "body", "silence")[number % 4]
        data = {
            "handshake": b"\x16\x03\x01\x02\x00" + b"\x01" * 500,
            "head": b"GET /v1/hello HTTP/1.1\r\nX: " + b"a" * 500,
            "body": b"POST /v1/pair HTTP/1.1\r\nHost: box\r\nContent-Type: application/json\r\n"
            b"Content-Length: 4000\r\n\r\n" + b"[" * 500,
            "silence": b"",
        }[kind]
        begun_s = time.perf_counter()
        try:
            reader, writer = await self._open(plain=kind == "handshake")
            with closing(writer):
                ended = asyncio.ensure_future(reader.read())
                for byte in data:
                    writer.write(bytes([byte]))
                    await asyncio.wait([ended], timeout=BYTE_S)
                    if ended.done():
                        break
                with suppress(OSError):
                    await asyncio.wait_for(ended, CUT_WITHIN_S)
        except OSError:
            pass
        except TimeoutError:
            self.uncut.append(kind)
        took_s = time.perf_counter() - begun_s
        if took_s > CUT_WITHIN_S:
            self.uncut.append(f"{kind} after {took_s:.0f} s")
        self.outcomes["slow", f"cut in its {kind}" if kind != "silence" else "cut in silence"] += 1

    async def _work(self, queue: asyncio.Queue[Request]) -> None:
        kept: Streams | None = None
        while True:
            try:
                request = await queue.get()
            except asyncio.CancelledError:
                if kept is not None:
                    kept[1].close()
                raise
            try:
                as_till = request.kind == "api" and self._rng.random() < 0.6
                if as_till and kept is not None:
                    streams, kept = kept, None
                else:
                    streams = await self._open(plain=request.kind == "tls", as_till=as_till)
                data = with_token(request.data, self._rogue.token) if as_till else request.data
                with ExitStack() as stack:
                    stack.callback(streams[1].close)
                    answered, alive = await _ask(streams, data, request.route)
                    if as_till and alive and kept is None:
                        kept = streams
                        stack.pop_all()
                self._note(request.kind, answered)
            except OSError as error:
                self._note(request.kind, Answered("closed", type(error).__name__, request.route))
            finally:
                queue.task_done()

    def _note(self, kind: str, answered: Answered) -> None:
        self.outcomes[kind, answered.outcome] += 1
        if answered.outcome.startswith("5") or "Traceback" in answered.text or '"internal"' in answered.text:
            self.suspicious.append(answered)

    async def _open(self, *, plain: bool = False, as_till: bool = False) -> Streams:
        rng = self._rng
        where = f"127.{rng.randint(1, 250)}.{rng.randint(0, 250)}.{rng.randint(2, 250)}"
        context = None if plain else self._with_identity if as_till else self._without
        return await asyncio.open_connection(
            self._target.host, self._target.port, ssl=context, local_addr=(where, 0)
        )


async def _ask(streams: Streams, data: bytes, route: str) -> tuple[Answered, bool]:
    """Send; the answer, and whether the connection can take another request."""
    reader, writer = streams
    writer.write(data)
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), ANSWER_S)
    except TimeoutError:
        return Answered("silence", "", route), False
    except asyncio.IncompleteReadError as error:
        return Answered("closed", error.partial[:200].decode("latin-1"), route), False
    if not head.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")):
        return Answered("no HTTP", head[:200].decode("latin-1"), route), False
    fields = head.decode("latin-1").lower().split("\r\n")
    length = next((int(f.partition(":")[2]) for f in fields if f.startswith("content-length:")), None)
    body, whole = b"", False
    with suppress(TimeoutError, asyncio.IncompleteReadError):
        if length is None:
            body = await asyncio.wait_for(reader.read(4_096), ANSWER_S)  # a stream: its beginning will do
        else:
            body = await asyncio.wait_for(reader.readexactly(length), ANSWER_S)
            whole = True
    alive = whole and "connection: close" not in fields and not reader.at_eof()
    return Answered(head[9:12].decode(), body[:300].decode("latin-1"), route), alive

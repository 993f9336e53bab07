"""Tills that sell while others attack: `python -m campaigns.hostile.sellers` reads a `Selling` as JSON on one line.

Each further line names the phase that begins, or is empty while nothing counts. It sells until its standard input
ends, and prints a `Sold`. Each till keeps one connection and sends at moments of its own, as people press; a wait
counts from the moment at which its sale was due, in the phase of that moment.
"""

import asyncio
import itertools
import random
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import msgspec
import uvloop

from appliance.domain.catalogue import Article
from appliance.runtime.tls import pinned_context
from bench.client import answer_bytes, sale_requests
from bench.load import Till
from bench.processes import Failed, python
from campaigns.hostile.shop import Paired, Target
from cloud.articles import make_articles

PER_TILL_PER_S = 5.0
READY = b"ready\n"


class Selling(msgspec.Struct, frozen=True):
    """Where, and who."""

    host: str
    port: int
    spki: str
    tills: list[Paired]


class Sold(msgspec.Struct, frozen=True):
    """How long each sale of a phase waited for its ack, what else was answered, and how often a connection was lost."""

    waits_ms: dict[str, list[float]]
    refused: list[str]
    lost: int


class Sellers:
    """The tills, in a process beside this one."""

    def __init__(self, pid: int, pipe: IO[bytes]) -> None:
        self.pid = pid
        self._pipe = pipe
        self._sold: Sold | None = None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """What is sold while inside counts for this phase; nothing does outside of one."""
        self._say(name)
        yield
        self._say("")

    def ended(self, sold: Sold) -> None:
        """Take in what they sold."""
        self._sold = sold

    @property
    def sold(self) -> Sold:
        """What they sold, once they have ended."""
        assert self._sold is not None
        return self._sold

    def _say(self, line: str) -> None:
        self._pipe.write(line.encode() + b"\n")
        self._pipe.flush()


@contextmanager
def selling(target: Target, tills: list[Paired]) -> Iterator[Sellers]:
    """Tills that sell while inside; what they sold is known afterwards. Raises Failed when they cannot."""
    job = msgspec.json.encode(Selling(target.host, target.port, target.spki, tills))
    with subprocess.Popen(  # noqa: S603  our own code
        python("-m", "campaigns.hostile.sellers"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(job + b"\n")
        process.stdin.flush()
        try:
            if process.stdout.readline() != READY:
                raise Failed("the tills do not sell")
            sellers = Sellers(process.pid, process.stdin)
            yield sellers
        finally:
            told, _ = process.communicate()
    if process.returncode != 0:
        raise Failed(f"the tills ended with {process.returncode}")
    sellers.ended(msgspec.json.decode(told, type=Sold))


class _Seller:
    def __init__(self, job: Selling, till: Paired, articles: list[Article], rng: random.Random) -> None:
        self._job = job
        self._context = pinned_context(job.spki, till.identity)
        self._requests = sale_requests(Till(till.name, till.token), articles, rng)
        self._rng = rng
        self.sells = asyncio.Event()
        self.phase = ""
        self.waits_ms: defaultdict[str, list[float]] = defaultdict(list)
        self.refused: list[str] = []
        self.lost = 0

    async def sell(self) -> None:
        due_s = time.perf_counter() + self._rng.random() / PER_TILL_PER_S
        while True:
            try:
                reader, writer = await asyncio.open_connection(
                    self._job.host, self._job.port, ssl=self._context
                )
                while True:
                    await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
                    phase = self.phase
                    writer.write(next(self._requests))
                    status, body = await _answer(reader)
                    if phase:
                        self.waits_ms[phase].append(1e3 * (time.perf_counter() - due_s))
                    if status != 201:
                        self.refused.append(f"{status} {body[:200].decode(errors='replace')}")
                    self.sells.set()
                    due_s += self._rng.uniform(0.5, 1.5) / PER_TILL_PER_S
            except (OSError, asyncio.IncompleteReadError):
                self.lost += 1
                await asyncio.sleep(0.1)


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    body = await reader.readexactly((answer_bytes(head) or len(head)) - len(head))
    return int(head.split(b" ", 2)[1]), body


async def _main() -> None:
    loop = asyncio.get_running_loop()
    job = msgspec.json.decode(await loop.run_in_executor(None, sys.stdin.readline), type=Selling)
    articles = list(itertools.islice(make_articles(100, 1, random.Random(1)), 100))
    sellers = [_Seller(job, till, articles, random.Random(n)) for n, till in enumerate(job.tills)]
    tasks = [asyncio.create_task(seller.sell()) for seller in sellers]
    tasks.append(asyncio.create_task(_listen(sellers)))
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            task.result()  # a bug of ours
        task.cancel()
    waits_ms: defaultdict[str, list[float]] = defaultdict(list)
    for seller in sellers:
        for phase, waits in seller.waits_ms.items():
            waits_ms[phase] += waits
    refused = [refused for seller in sellers for refused in seller.refused]
    sold = Sold(waits_ms, refused, sum(seller.lost for seller in sellers))
    print(msgspec.json.encode(sold).decode())


async def _listen(sellers: list[_Seller]) -> None:
    """Follow the phases until nobody names any more."""
    for seller in sellers:
        await seller.sells.wait()
    print(READY.decode(), end="", flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        for seller in sellers:
            seller.phase = line.strip()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main())

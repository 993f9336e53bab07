"""Looking articles up: over HTTP beside a bare GET, and in this process without one."""

import asyncio
import itertools
import random
import time
from collections.abc import Iterator
from functools import partial

import uvloop

from appliance.domain.catalogue import Article, words
from appliance.storage.mirror import open_mirror
from appliance.wiring import files_in
from bench.bare import bare
from bench.disk import timed
from bench.load import Outcome, load, series
from bench.processes import Server
from bench.report import Row, against, row
from bench.rounds import alternate, percentile
from bench.settings import Bench
from bench.shop import Box

NAME = "lookup"
CLIENTS = (1, 64)
# The codes that the load asks for; they travel to its process.
CODES = 2_000
PREFIX = 3


def measure(bench: Bench) -> Iterator[Row]:
    """Look-ups by GTIN over HTTP, then by GTIN and by words without."""
    with bench.shop.box() as box:
        with box.running() as product, bare(bench.folder) as limit:
            for clients in CLIENTS:
                runs = {
                    "bare": partial(_load, bench, limit, clients),
                    "product": partial(_load, bench, product, clients),
                }
                yield from _rows(clients, alternate(bench.settings.rounds, runs))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            yield from runner.run(_in_process(bench, box))


def _load(bench: Bench, server: Server, clients: int) -> Outcome:
    # The same ones for product and limit.
    asked = random.Random(clients).sample(bench.shop.articles, min(CODES, len(bench.shop.articles)))
    return load(server, clients, bench.settings.seconds, bench.shop.tills, asked, lookups=True)


def _rows(clients: int, taken: dict[str, list[Outcome]]) -> Iterator[Row]:
    tills = "1 till" if clients == 1 else f"{clients} tills"
    rate, p99 = series(taken, lambda done: done.per_s), series(taken, lambda done: done.p99_ms)
    target = ">= 0.60" if clients == 64 else ""
    yield row(
        NAME,
        f"{tills}, by GTIN",
        "1/s",
        rate["product"],
        against("bare GET", rate["product"], rate["bare"], target),
    )
    yield row(
        NAME, f"{tills}, by GTIN, p99", "ms", p99["product"], against("bare GET", p99["product"], p99["bare"])
    )


async def _in_process(bench: Bench, box: Box) -> list[Row]:
    rng = random.Random(1)
    seconds, rounds = bench.settings.seconds / 2, bench.settings.rounds
    codes = itertools.cycle(rng.sample(bench.shop.articles, len(bench.shop.articles)))
    async with open_mirror(files_in(box.config).mirror) as mirror:
        found = [timed(lambda: mirror.by_gtin(next(codes).gtins[0]), seconds) for _ in range(rounds)]
        rows = [
            row(NAME, "by GTIN, in the process, p50", "us", [1e3 * outcome.p50_ms for outcome in found]),
            row(NAME, "by GTIN, in the process, p99", "us", [1e3 * outcome.p99_ms for outcome in found]),
        ]
        for count, name in ((1, "one word"), (2, "two words")):
            taken: list[list[float]] = []
            for _ in range(rounds):
                taken.append([])
                until = time.perf_counter() + seconds
                while (began := time.perf_counter()) < until:
                    await mirror.search(_beginnings(rng.choice(bench.shop.articles), count, rng))
                    taken[-1].append(1e3 * (time.perf_counter() - began))
            what = f"search, {name} begun"
            rows += [
                row(NAME, f"{what}, p50", "ms", [percentile(times, 0.5) for times in taken]),
                row(NAME, f"{what}, p99", "ms", [percentile(times, 0.99) for times in taken]),
            ]
    return rows


def _beginnings(article: Article, count: int, rng: random.Random) -> str:
    """What somebody types who looks for this article: the first letters of some of its words."""
    own = words(article.name)
    return " ".join(word[:PREFIX] for word in rng.sample(own, min(count, len(own))))

"""A million events that wait for the line: the daemon's memory and its answers, beside a box with hardly any.

First without a line, where only the backlog's size tells the two apart; then while they drain. The journal is filled
as the daemon fills it, in groups, with sales of all tills.
"""

import itertools
import random
import time
from collections.abc import Iterator
from functools import partial

import msgspec

from appliance.storage.commit import Draft
from bench.client import sale_requests
from bench.figures.accept import ARTICLES
from bench.load import load
from bench.processes import Server, peak_mb
from bench.report import Row, against, at_most, row
from bench.rounds import alternate, percentile
from bench.settings import Bench
from bench.shop import NO_CLOUD, SALES_OF_A_DAY, TILLS, Box, get, status, until

NAME = "backlog"
FLAT = at_most(1.1)
# Times of some milliseconds vary more than memory does.
STEADY = at_most(1.5)
LOOKS = 100
SCRAPES = 20
DRAINING_S = 60.0


class Seen(msgspec.Struct, frozen=True):
    """One daemon from its start to its end."""

    ready_s: float
    peak_mb: float
    status_ms: float
    metrics_ms: float


def measure(bench: Bench) -> Iterator[Row]:
    """Memory and answer times with and without a backlog, offline and while it drains."""
    shop, settings = bench.shop, bench.settings
    with shop.cloud() as one, shop.cloud() as other, shop.box() as few, shop.box() as many:
        began = time.perf_counter()
        many.append(itertools.islice(_drafts(bench), settings.waiting))
        filled_s = time.perf_counter() - began
        yield row(NAME, "filled by the journal", "events/s", [settings.waiting / filled_s])
        for line, urls in (("offline", (NO_CLOUD, NO_CLOUD)), ("draining", (one.url, other.url))):
            few.configure(urls[0])
            many.configure(urls[1])
            runs = {
                "few": partial(_serve, bench, few, draining=line == "draining"),
                "many": partial(_serve, bench, many, draining=line == "draining"),
            }
            yield from _rows(bench, line, alternate(settings.rounds, runs))


def _rows(bench: Bench, line: str, taken: dict[str, list[Seen]]) -> Iterator[Row]:
    beside = f"{SALES_OF_A_DAY:,} waiting"
    asked = f"{bench.settings.waiting:,} waiting, {line}"
    values = {
        name: [[getattr(seen, name) for seen in taken[which]] for which in ("many", "few")]
        for name in Seen.__struct_fields__
    }
    # While it drains, the machine is busier than beside a box that has drained: times are judged offline.
    steady = STEADY if line == "offline" else None
    for name, what, unit, gate in (
        ("peak_mb", "RSS while serving, peak", "MB", FLAT),
        ("status_ms", "GET /v1/status, p50", "ms", steady),
        ("metrics_ms", "GET /metrics, p50", "ms", steady),
        ("ready_s", "exec to ready", "s", steady),
    ):
        mine, other = values[name]
        yield row(NAME, f"{asked}: {what}", unit, mine, against(beside, mine, other, gate=gate))


def _serve(bench: Bench, box: Box, *, draining: bool) -> Seen:
    shop, till = bench.shop, bench.shop.tills[0]
    with box.running() as server:
        if draining:
            before = status(server, till).journal.backlog
            until(lambda: status(server, till).journal.backlog < before, "the drain has begun", DRAINING_S)
        load(server, TILLS, bench.settings.seconds, shop.tills, shop.articles[:ARTICLES])
        status_ms = _p50_ms(bench, server, "/v1/status", LOOKS)
        metrics_ms = _p50_ms(bench, server, "/metrics", SCRAPES)
        return Seen(server.ready_s, peak_mb(server.pid), status_ms, metrics_ms)


def _p50_ms(bench: Bench, server: Server, path: str, times: int) -> float:
    taken_ms = []
    for _ in range(times):
        began = time.perf_counter()
        get(server, bench.shop.tills[0], path)
        taken_ms.append(1e3 * (time.perf_counter() - began))
    return percentile(taken_ms, 0.5)


def _drafts(bench: Bench) -> Iterator[Draft]:
    """Sales of all tills in turn, as selling hands them to the journal."""
    articles = bench.shop.articles[:ARTICLES]
    streams = [
        (till.name, sale_requests(till, articles, random.Random(number)))
        for number, till in enumerate(bench.shop.tills)
    ]
    for name, stream in itertools.cycle(streams):
        body = next(stream).partition(b"\r\n\r\n")[2]
        sale_id = body.partition(b'"sale_id":"')[2][:36]
        key = bytes.fromhex(sale_id.replace(b"-", b"").decode())
        yield Draft("sale", b'{"flags":[],"sale":%b}' % body, name, key, body)

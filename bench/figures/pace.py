"""How long a till waits at a steady 1,000 sales a second from 64 tills, beside bare aiohttp and a bare fdatasync.

Each till sends when its time has come, not when the last answer has: a box that falls behind is seen to.
"""

from collections.abc import Callable, Iterator
from functools import partial

from bench.bare import bare
from bench.disk import fdatasyncs
from bench.figures.accept import ARTICLES
from bench.load import Outcome, load, series
from bench.processes import Server
from bench.report import Row, against, at_most, row
from bench.rounds import alternate
from bench.settings import Bench
from bench.shop import TILLS

NAME = "pace"
SALES_PER_S = 1_000.0
P99 = at_most(2.5, moonshot=1.5)
# A p99 stands on one answer in a hundred: longer than other rounds.
LONGER = 2


def measure(bench: Bench) -> Iterator[Row]:
    """The wait, and whether the asked rate was kept."""
    with bench.shop.box() as box, box.running() as product, bare(bench.folder) as echo:
        runs: dict[str, Callable[[], Outcome]] = {
            "echo": partial(paced, bench, echo),
            "product": partial(paced, bench, product),
            "sync": partial(fdatasyncs, bench.folder / "sync", bench.settings.seconds),
        }
        taken = alternate(bench.settings.rounds, runs)
    rate = series(taken, lambda done: done.per_s)
    p50, p99 = series(taken, lambda done: done.p50_ms), series(taken, lambda done: done.p99_ms)
    floor = {
        name: [echo + sync for echo, sync in zip(times["echo"], times["sync"], strict=True)]
        for name, times in (("p50", p50), ("p99", p99))
    }
    yield row(
        NAME, "acked", "sales/s", rate["product"], against("aiohttp echo", rate["product"], rate["echo"])
    )
    yield row(
        NAME, "p50", "ms", p50["product"], against("echo + fdatasync, p50", p50["product"], floor["p50"])
    )
    yield row(
        NAME,
        "p99",
        "ms",
        p99["product"],
        against("echo + fdatasync, p99", p99["product"], floor["p99"], gate=P99),
    )


def paced(bench: Bench, server: Server) -> Outcome:
    """All tills together at the asked rate."""
    shop, seconds = bench.shop, LONGER * bench.settings.seconds
    return load(server, TILLS, seconds, shop.tills, shop.articles[:ARTICLES], per_s=SALES_PER_S)

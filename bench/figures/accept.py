"""Accepting sales: acked per second and how long a till waits, beside bare aiohttp and bare SQLite.

The box is offline, so that draining takes no part of the machine; accepting must not depend on it anyway.
"""

from collections.abc import Callable, Iterator
from functools import partial

from bench.bare import bare
from bench.disk import event_bodies, fdatasyncs, group_commits
from bench.load import Outcome, load, series
from bench.processes import Server
from bench.report import Row, against, at_least, at_most, row
from bench.rounds import alternate
from bench.settings import CLIENTS, Bench

NAME = "accept"
# Of a bare echo's rate, with 64 tills; of echo's and fdatasync's p50, with one.
RATE = at_least(0.50, moonshot=1.0)
P50 = at_most(2.5, moonshot=1.7)
# Enough articles for varied baskets; the job travels to the load's process.
ARTICLES = 500


def measure(bench: Bench) -> Iterator[Row]:
    """Rows for 1, 8 and 64 tills."""
    bodies = event_bodies(bench.shop.articles)
    with bench.shop.box() as box, box.running() as product, bare(bench.folder) as echo:
        for clients in CLIENTS:
            seconds, file = bench.settings.seconds, bench.folder / "raw.db"
            runs: dict[str, Callable[[], Outcome]] = {
                "echo": partial(_load, bench, echo, clients),
                "product": partial(_load, bench, product, clients),
                "raw": partial(group_commits, file, bodies, clients, seconds / 2),
                "sync": partial(fdatasyncs, bench.folder / "sync", seconds / 4),
            }
            yield from _rows(clients, alternate(bench.settings.rounds, runs))


def _load(bench: Bench, server: Server, clients: int) -> Outcome:
    return load(server, clients, bench.settings.seconds, bench.shop.tills, bench.shop.articles[:ARTICLES])


def _rows(clients: int, taken: dict[str, list[Outcome]]) -> Iterator[Row]:
    tills = "1 till" if clients == 1 else f"{clients} tills"
    rate = series(taken, lambda done: done.per_s)
    p50, p99 = series(taken, lambda done: done.p50_ms), series(taken, lambda done: done.p99_ms)
    cpu = series(taken, lambda done: done.cpu_us)
    floor = [echo + sync for echo, sync in zip(p50["echo"], p50["sync"], strict=True)]
    yield row(
        NAME,
        f"{tills}, acked",
        "sales/s",
        rate["product"],
        against("aiohttp echo", rate["product"], rate["echo"], gate=RATE if clients == 64 else None),
        against(f"SQLite, {clients} a commit", rate["product"], rate["raw"]),
    )
    yield row(
        NAME,
        f"{tills}, p50",
        "ms",
        p50["product"],
        against("echo + fdatasync, p50", p50["product"], floor, gate=P50 if clients == 1 else None),
    )
    yield row(
        NAME, f"{tills}, p99", "ms", p99["product"], against("aiohttp echo", p99["product"], p99["echo"])
    )
    # Steadier than the rates where others use the machine too.
    yield row(
        NAME,
        f"{tills}, CPU for a sale",
        "us",
        cpu["product"],
        against("aiohttp echo", cpu["product"], cpu["echo"]),
    )

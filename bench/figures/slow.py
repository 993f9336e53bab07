"""Accepting sales on a disk that syncs as slowly as an SD card: 5 ms are added to each sync of the daemon.

The limit is the disk itself: fdatasyncs one after another, through the same library.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec

from bench.figures.accept import ARTICLES
from bench.figures.pace import paced
from bench.load import Outcome, load, series
from bench.processes import Failed, Server, call, python
from bench.report import Row, against, at_least, at_most, row
from bench.rounds import alternate
from bench.settings import Bench
from bench.shop import TILLS
from bench.slowdisk import SlowDisk

NAME = "slow"
ADDED_MS = 5.0
# Of the disk's syncs a second; of the time of one sync.
RATE = at_least(18.0, moonshot=30.0)
P99 = at_most(4.0, moonshot=2.5)


def measure(bench: Bench) -> Iterator[Row]:
    """How many sales one sync carries, and how many syncs a till waits for."""
    disk = SlowDisk(bench.folder, ADDED_MS)
    with bench.shop.box() as box, box.running(disk.environment) as product:
        runs: dict[str, Callable[[], Outcome]] = {
            "sync": partial(_syncs, disk, bench.folder / "sync", bench.settings.seconds),
            "tills": partial(_sold, bench, disk, product),
            "paced": partial(paced, bench, product),
        }
        taken = alternate(bench.settings.rounds, runs)
    rate = series(taken, lambda done: done.per_s)
    p50, p99 = series(taken, lambda done: done.p50_ms), series(taken, lambda done: done.p99_ms)
    yield row(NAME, "fdatasync", "ms", p50["sync"])
    yield row(
        NAME,
        f"{TILLS} tills, acked",
        "sales/s",
        rate["tills"],
        against("syncs/s of the disk", rate["tills"], rate["sync"], gate=RATE),
    )
    yield row(NAME, f"{TILLS} tills, p99", "ms", p99["tills"], against("a sync", p99["tills"], p50["sync"]))
    yield row(NAME, "1,000 sales/s asked, acked", "sales/s", rate["paced"])
    yield row(
        NAME,
        "1,000 sales/s asked, p50",
        "ms",
        p50["paced"],
        against("a sync", p50["paced"], p50["sync"]),
    )
    yield row(
        NAME,
        "1,000 sales/s asked, p99",
        "ms",
        p99["paced"],
        against("a sync", p99["paced"], p50["sync"], gate=P99),
    )


def _syncs(disk: SlowDisk, file: Path, seconds: float) -> Outcome:
    printed = call(python("-m", "bench.disk", str(file), str(seconds)), environment=disk.environment)
    return msgspec.json.decode(printed, type=Outcome)


def _sold(bench: Bench, disk: SlowDisk, product: Server) -> Outcome:
    shop, before = bench.shop, disk.syncs()
    done = load(product, TILLS, bench.settings.seconds, shop.tills, shop.articles[:ARTICLES])
    # A daemon that syncs past the library would look wonderful.
    if (disk.syncs() - before) * TILLS < done.served:
        raise Failed(
            f"{done.served} sales on {disk.syncs() - before} syncs: the slow disk has no effect here"
        )
    return done

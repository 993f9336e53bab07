"""Memory of the daemon with the catalogue mirrored: idle, its peak while serving, and of its imports alone."""

import time
from collections.abc import Iterator

import psutil

from bench.load import load
from bench.processes import Server, peak_mb, waiting
from bench.report import Row, against, row
from bench.settings import Bench
from bench.shop import TILLS

NAME = "memory"
RSS_MB_MAX = 90.0
ARTICLES = 500
# By then everything that a start sets going has ended.
SETTLE_S = 2.0


def measure(bench: Bench) -> Iterator[Row]:
    """Resident set sizes in MB (10^6 bytes)."""
    with waiting("import appliance.cli") as imported:
        imports = _rss_mb(imported.pid)
    idle, serving, after = [], [], []
    for _ in range(1 if bench.settings.quick else 3):
        with bench.shop.box() as box, box.running() as server:
            time.sleep(0 if bench.settings.quick else SETTLE_S)
            idle.append(_rss_mb(server.pid))
            _serve(bench, server)
            serving.append(peak_mb(server.pid))
            after.append(_rss_mb(server.pid))
    floor = [imports] * len(idle)
    gate = None if bench.settings.quick else RSS_MB_MAX
    yield row(NAME, "RSS idle", "MB", idle, against("imports alone", idle, floor))
    yield row(
        NAME,
        "RSS while serving, peak",
        "MB",
        serving,
        against("imports alone", serving, floor, "<= 1.5"),
        gate_below=gate,
    )
    first = bench.shop.mirroring_peak_mb
    yield row(
        NAME, "RSS while first mirroring, peak", "MB", [first], against("imports alone", [first], [imports])
    )
    yield row(NAME, "RSS afterwards", "MB", after, against("imports alone", after, floor))


def _serve(bench: Bench, server: Server) -> None:
    shop, seconds = bench.shop, 2 * bench.settings.seconds
    for lookups in (False, True):
        load(server, TILLS, seconds, shop.tills, shop.articles[:ARTICLES], lookups=lookups)


def _rss_mb(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / 1e6

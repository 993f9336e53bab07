"""Memory of the daemon with the catalogue mirrored: idle, its peak while serving, and of its imports alone."""

import time
from collections.abc import Iterator

import psutil

from bench.load import load
from bench.processes import Server, peak_mb, waiting
from bench.report import Row, against, at_most, row
from bench.rounds import alternate
from bench.settings import Bench
from bench.shop import TILLS

NAME = "memory"
RSS_MB = at_most(90.0)
OF_IMPORTS = at_most(1.5, moonshot=1.25)
ARTICLES = 500
# By then everything that a start sets going has ended.
SETTLE_S = 2.0


def measure(bench: Bench) -> Iterator[Row]:
    """Resident set sizes in MB (10^6 bytes)."""
    taken = alternate(
        bench.settings.rounds, {"imports": _imports, "product": lambda: _started_and_served(bench)}
    )
    floor = [imports for imports, _, _ in taken["imports"]]
    idle, serving, after = zip(*taken["product"], strict=True)
    yield row(NAME, "RSS idle", "MB", idle, against("imports alone", idle, floor))
    yield row(
        NAME,
        "RSS while serving, peak",
        "MB",
        serving,
        against("imports alone", serving, floor, gate=OF_IMPORTS),
        gate=RSS_MB,
    )
    first = bench.shop.mirroring_peak_mb
    yield row(
        NAME, "RSS while first mirroring, peak", "MB", [first], against("imports alone", [first], floor[:1])
    )
    yield row(NAME, "RSS afterwards", "MB", after, against("imports alone", after, floor))


def _imports() -> tuple[float, float, float]:
    with waiting("import appliance.cli") as imported:
        alone = _rss_mb(imported.pid)
    return alone, alone, alone


def _started_and_served(bench: Bench) -> tuple[float, float, float]:
    """Before serving, its peak, and afterwards."""
    with bench.shop.box() as box, box.running() as server:
        time.sleep(0 if bench.settings.quick else SETTLE_S)
        idle = _rss_mb(server.pid)
        _serve(bench, server)
        return idle, peak_mb(server.pid), _rss_mb(server.pid)


def _serve(bench: Bench, server: Server) -> None:
    shop = bench.shop
    for lookups, seconds in ((False, 2 * bench.settings.seconds), (True, bench.settings.seconds)):
        load(server, TILLS, seconds, shop.tills, shop.articles[:ARTICLES], lookups=lookups)


def _rss_mb(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / 1e6

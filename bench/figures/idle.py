"""An idle daemon, online with a head office and announced by mDNS: how often it wakes up, and what that costs.

A wake-up is a voluntary context switch of any of its threads (proc(5)): it went to sleep and was woken.
"""

import time
from collections.abc import Iterator
from pathlib import Path

from bench.load import cpu_s
from bench.processes import Server
from bench.report import Row, at_most, row
from bench.settings import Bench
from bench.shop import status, until

NAME = "idle"
WAKE_UPS_PER_S = at_most(2.0, moonshot=0.5)
ONLINE_S = 60.0
# By then everything that a start and a first drain set going has ended.
SETTLE_S = 10.0
WINDOWS = 5


def measure(bench: Bench) -> Iterator[Row]:
    """Wake-ups a second over the whole time; the windows within show bursts."""
    settings = bench.settings
    with bench.shop.cloud() as cloud, bench.shop.box(cloud.url) as box, box.running() as server:
        _wait_until_online(bench, server)
        time.sleep(0 if settings.quick else SETTLE_S)  # what is measured is that nothing happens
        busy_s = cpu_s(server.pid)
        windows = [_wake_ups_per_s(server.pid, settings.idle_s / WINDOWS) for _ in range(WINDOWS)]
        busy_s = cpu_s(server.pid) - busy_s
    # The mean, not the median of windows: a burst every half minute is not to vanish.
    yield row(NAME, "wake-ups", "1/s", [sum(windows) / WINDOWS], gate=WAKE_UPS_PER_S)
    yield row(NAME, f"wake-ups, windows of {settings.idle_s / WINDOWS:g} s", "1/s", windows)
    yield row(NAME, "CPU", "ms/s", [1e3 * busy_s / settings.idle_s])


def _wait_until_online(bench: Bench, server: Server) -> None:
    def settled() -> bool:
        now = status(server, bench.shop.tills[0])
        return now.state == "online" and now.journal.backlog == 0

    until(settled, "online, with nothing waiting", ONLINE_S)


def _wake_ups_per_s(pid: int, seconds: float) -> float:
    before, began = _switches(pid), time.perf_counter()
    time.sleep(seconds)
    counted = sum(count - before.get(thread, 0) for thread, count in _switches(pid).items())
    return counted / (time.perf_counter() - began)


def _switches(pid: int) -> dict[str, int]:
    """Voluntary context switches so far, by thread."""
    found = {}
    for folder in Path(f"/proc/{pid}/task").iterdir():
        lines = (folder / "status").read_text().splitlines()
        found[folder.name] = int(
            next(line.split()[1] for line in lines if line.startswith("voluntary_ctxt_switches"))
        )
    return found

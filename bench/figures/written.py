"""Bytes that reach the block device for one sale, beside the sale's own: what wears a card out.

The payload is the body of the POST, as the till sends it. A first load is not counted: the WAL grows to its size once
in a daemon's life, and a file that grows costs the file system more. Counted is then all that the kernel writes to the
device until the daemon has ended and everything is flushed: SQLite's files with the last checkpoint, the head file,
the file system's own journal and metadata; and what others write to the same device meanwhile, which stands in a row
of its own, measured while nobody sells. Where others are busy, look at what the daemon itself handed to the kernel
while it sold (proc(5), `write_bytes`: pages, without the file system's own, and before the last checkpoint).
"""

import time
from collections.abc import Callable, Iterator
from functools import partial

import psutil

from bench.blockdev import Device
from bench.client import payload_bytes
from bench.figures.accept import ARTICLES
from bench.load import Job, load
from bench.report import Row, against, at_most, row
from bench.rounds import alternate
from bench.settings import Bench
from bench.shop import TILLS, Box

NAME = "written"
GATES = {1: at_most(11.0, moonshot=4.5), TILLS: at_most(1.5, moonshot=1.0)}


def measure(bench: Bench) -> Iterator[Row]:
    """Bytes for a sale, of one till and of many."""
    device = Device(bench.folder)
    with bench.shop.box() as box:
        runs: dict[str, Callable[[], tuple[float, float]]] = {
            "nobody": partial(_idle_bytes_per_s, bench, device, box),
            **{str(clients): partial(_bytes_per_sale, bench, device, box, clients) for clients in GATES},
        }
        taken = alternate(bench.settings.rounds, runs)
    for clients, gate in GATES.items():
        written, dirtied = ([found[which] for found in taken[str(clients)]] for which in (0, 1))
        payload = [_payload_bytes(bench, clients)] * len(written)
        tills = "1 till" if clients == 1 else f"{clients} tills"
        reached = against("payload", written, payload, gate=gate)
        yield row(NAME, f"{tills}, on {device.name}", "bytes/sale", written, reached)
        yield row(
            NAME, f"{tills}, the daemon's pages", "bytes/sale", dirtied, against("payload", dirtied, payload)
        )
    yield row(
        NAME, f"nobody sells, on {device.name}", "bytes/s", [on_device for on_device, _ in taken["nobody"]]
    )


def _bytes_per_sale(bench: Bench, device: Device, box: Box, clients: int) -> tuple[float, float]:
    articles = bench.shop.articles[:ARTICLES]
    with box.running() as server:
        press = partial(load, server, clients, bench.settings.seconds, bench.shop.tills, articles)
        press()
        before, handed = device.written_bytes(), _handed_bytes(server.pid)
        done = press()
        handed = _handed_bytes(server.pid) - handed
    return (device.written_bytes() - before) / done.served, handed / done.served


def _idle_bytes_per_s(bench: Bench, device: Device, box: Box) -> tuple[float, float]:
    with box.running() as server:
        before, handed, began = device.written_bytes(), _handed_bytes(server.pid), time.perf_counter()
        time.sleep(bench.settings.seconds)
        handed = _handed_bytes(server.pid) - handed
    took_s = time.perf_counter() - began
    return (device.written_bytes() - before) / took_s, handed / took_s


def _handed_bytes(pid: int) -> int:
    return int(psutil.Process(pid).io_counters().write_bytes)


def _payload_bytes(bench: Bench, clients: int) -> float:
    return payload_bytes(Job("", 0, clients, 0.0, bench.shop.tills, bench.shop.articles[:ARTICLES]))

"""Starting: from exec to the line `ready`, and to the first ack; beside what the interpreter and imports take."""

import http.client
import random
import time
from collections.abc import Iterator
from functools import partial

from bench.load import Till
from bench.processes import Failed, Server, waiting
from bench.report import Row, against, at_most, row
from bench.rounds import alternate
from bench.sales import make_sales
from bench.settings import Bench
from bench.shop import Box

NAME = "start"
READY_S = at_most(1.5)
FIRST_ACK = at_most(2.0, moonshot=1.3)


def measure(bench: Bench) -> Iterator[Row]:
    """Seconds, with the programs in the page cache: what a restart after a crash takes."""
    with bench.shop.box() as box:
        runs = {
            "interpreter": partial(_alone, "pass"),
            "imports": partial(_alone, "import appliance.cli"),
            "product": partial(_first_ack, bench, box),
        }
        taken = alternate(bench.settings.rounds, runs)
    ready = [ready_s for ready_s, _ in taken["product"]]
    acked = [acked_s for _, acked_s in taken["product"]]
    imports = [s for s, _ in taken["imports"]]
    yield row(NAME, "interpreter alone", "s", [s for s, _ in taken["interpreter"]])
    yield row(NAME, "imports alone", "s", imports)
    yield row(NAME, "exec to ready", "s", ready, against("imports alone", ready, imports), gate=READY_S)
    yield row(NAME, "exec to first ack", "s", acked, against("imports alone", acked, imports, gate=FIRST_ACK))


def _alone(code: str) -> tuple[float, float]:
    with waiting(code) as server:
        return server.ready_s, server.ready_s


def _first_ack(bench: Bench, box: Box) -> tuple[float, float]:
    till = bench.shop.tills[0]
    # A seed of its own each time: the box keeps the sales of the rounds before.
    body = next(make_sales(bench.shop.articles, till.name, random.Random(time.time_ns()))).encode()
    with box.running() as server:
        _post(server, till, body)
        return server.ready_s, time.perf_counter() - server.started_s


def _post(server: Server, till: Till, body: bytes) -> None:
    connection = http.client.HTTPConnection(*server.address, timeout=10)
    headers = {"Authorization": f"Bearer {till.token}", "Content-Type": "application/json"}
    try:
        connection.request("POST", "/v1/sales", body, headers)
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    if answer.status != 201:
        raise Failed(f"the first sale was answered {answer.status}: {text[:500]!r}")

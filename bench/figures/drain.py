"""Draining: a backlog through the real drain and gateway, into a bare head office 60 ms away and into the real one.

The drain runs here, put together as the daemon does it, on a line that is known to be good: a line that has just come
back is first proven for seconds with small batches, on purpose. Each round begins with a drain that knows nothing of
the line. It must be well above the rate at which the box accepts sales, or a backlog would never end.
"""

import asyncio
import random
import shutil
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from appliance.domain.batch import pack
from appliance.domain.link import Cause, Link, LinkState
from appliance.domain.statements import Keys
from appliance.domain.wire import BATCH_EVENTS_MAX
from appliance.gateways.cloud import open_cloud
from appliance.gateways.identity import Identity
from appliance.runtime.clock import SystemClock
from appliance.runtime.database import read_only_uri
from appliance.runtime.keyfile import load_or_create
from appliance.services.drain import Drain
from appliance.services.feed import Feed
from appliance.services.wan import WanWatch
from appliance.storage.commit import Sealer
from appliance.storage.journal import Journal, open_journal
from appliance.storage.journal_tables import place_of
from appliance.storage.outgoing import open_outgoing
from appliance.wiring import files_in
from bench.headoffice import far_head_office
from bench.load import cpu_s, load
from bench.processes import Server
from bench.report import Row, against, at_least, at_most, row
from bench.rounds import alternate
from bench.settings import Bench
from bench.shop import Box

Result = TypeVar("Result")

NAME = "drain"
SEED = 2
CLIENTS = 64
ARTICLES = 500
# Of the rate at which the box accepts, 60 ms away from head office; of the events' own bytes.
OF_ACCEPTED = at_least(1.5, moonshot=3.0)
WIRE = at_most(0.30, moonshot=0.25)


def measure(bench: Bench) -> Iterator[Row]:
    """Events per second, and how many bytes travel for one of the journal."""
    backlog = 2 * bench.settings.backlog
    with bench.shop.cloud() as cloud, bench.shop.box(cloud.url) as box:
        box.fill(bench.shop.sales(SEED), backlog)
        yield from _far(bench, box)
        yield from _run(_into_head_office(bench, box, cloud, backlog // bench.settings.rounds))
        yield from _run(_on_the_wire(box))


def _far(bench: Bench, box: Box) -> Iterator[Row]:
    key = bench.folder / "far.key"
    signer = load_or_create(key)
    keys: Keys = {signer.key_id: signer.public_key}
    with (
        far_head_office(bench.folder, key) as far,
        bench.shop.box() as seller,
        seller.running() as selling,
    ):
        runs: dict[str, Callable[[], float]] = {
            "accepted": partial(_accepted_per_s, bench, selling),
            "drained": lambda: _run(_emptied_per_s(bench.folder / "draining", box, far, keys)),
        }
        taken = alternate(bench.settings.rounds, runs)
    drained, accepted = taken["drained"], taken["accepted"]
    limit = against(f"accepted from {CLIENTS} tills", drained, accepted, gate=OF_ACCEPTED)
    yield row(NAME, "backlog to a head office 60 ms away", "events/s", drained, limit)


def _accepted_per_s(bench: Bench, server: Server) -> float:
    shop = bench.shop
    return load(server, CLIENTS, bench.settings.seconds, shop.tills, shop.articles[:ARTICLES]).per_s


async def _emptied_per_s(folder: Path, box: Box, far: Server, keys: Keys) -> float:
    """Empty a copy of the box's backlog."""
    shutil.copytree(box.folder, folder)
    try:
        copy = Box(folder)
        copy.configure(far.url)
        async with _drain(copy, far, keys) as (drain, journal):
            began, before = time.perf_counter(), _synced(journal)
            while await drain.step():
                pass
            return (_synced(journal) - before) / (time.perf_counter() - began)
    finally:
        shutil.rmtree(folder)


async def _into_head_office(bench: Bench, box: Box, cloud: Server, events: int) -> list[Row]:
    drained: list[float] = []
    cloud_us: list[float] = []
    async with _drain(box, cloud) as (drain, journal):
        for _ in range(bench.settings.rounds):
            before_s, before, began = cpu_s(cloud.pid), _synced(journal), time.perf_counter()
            while _synced(journal) - before < events and await drain.step():
                pass
            count = _synced(journal) - before
            drained.append(count / (time.perf_counter() - began))
            cloud_us.append(1e6 * (cpu_s(cloud.pid) - before_s) / count)
    return [
        row(NAME, "backlog to head office beside", "events/s", drained),
        row(NAME, "head office's CPU for an event", "us", cloud_us),
    ]


async def _on_the_wire(box: Box) -> list[Row]:
    file = files_in(box.config).journal
    async with open_outgoing(read_only_uri(file)) as outgoing:
        first = await outgoing.next_batch(BATCH_EVENTS_MAX, (), place_of(1, 0))
    assert first is not None  # it holds a backlog that was drained
    payload_bytes, packed = sum(map(len, first.bodies)), pack(first.head, first.bodies)
    return [
        row(NAME, "wire bytes / payload bytes", "", [len(packed) / payload_bytes], gate=WIRE),
        row(NAME, "payload of an event", "bytes", [payload_bytes / len(first.bodies)]),
    ]


def _synced(journal: Journal) -> int:
    return sum(journal.synced().values())


def _run(job: Coroutine[Any, Any, Result]) -> Result:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(job)


@asynccontextmanager
async def _drain(box: Box, cloud: Server, keys: Keys | None = None) -> AsyncIterator[tuple[Drain, Journal]]:
    """The drain of this box, and its journal."""
    clock, rng, identity = SystemClock(), random.Random(SEED), Identity(box.config.state)
    keys, token = keys or identity.enrolment().keys(), identity.enrolment().answer.box_token
    file = files_in(box.config).journal
    wan = WanWatch(clock, rng)
    wan.link = Link(LinkState.ONLINE, Cause.OK, "cloud", clock.monotonic())
    async with AsyncExitStack() as stack:
        sealer = Sealer(identity.box, identity.signer, clock)
        journal = await stack.enter_async_context(open_journal(file, sealer))
        outgoing = await stack.enter_async_context(open_outgoing(read_only_uri(file)))
        gateway = await stack.enter_async_context(
            open_cloud(cloud.url, token=token, box=identity.box, keys=keys, clock=clock, observe=wan.observe)
        )
        yield Drain(journal, outgoing, gateway, wan, Feed(), keys, clock, rng), journal

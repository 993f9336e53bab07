"""Draining: a prepared backlog through the real drain and gateway into the real head office.

The drain runs here, put together as the daemon does it, on a line that is known to be good: a line that has just come
back is first proven for seconds with small batches, on purpose. The limit is the same bytes posted to bare aiohttp.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import uvloop

from appliance.domain.batch import pack
from appliance.domain.link import Cause, Link, LinkState
from appliance.domain.wire import BATCH_EVENTS_MAX, BATCH_MEDIA
from appliance.gateways.cloud import open_cloud
from appliance.gateways.identity import Identity
from appliance.runtime.clock import SystemClock
from appliance.runtime.database import read_only_uri
from appliance.services.drain import Drain
from appliance.services.feed import Feed
from appliance.services.wan import WanWatch
from appliance.storage.commit import Sealer
from appliance.storage.journal import Journal, open_journal
from appliance.storage.outgoing import OutgoingBatch, open_outgoing
from appliance.wiring import files_in
from bench.bare import bare
from bench.load import cpu_s
from bench.processes import Server
from bench.report import Row, against, row
from bench.settings import Bench
from bench.shop import Box

NAME = "drain"
SEED = 2


def measure(bench: Bench) -> Iterator[Row]:
    """Events per second, and how many bytes travel for one of the journal."""
    with bench.shop.cloud() as cloud, bench.shop.box(cloud.url) as box, bare(bench.folder) as echo:
        box.fill(bench.shop.sales(SEED), bench.settings.backlog)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            yield from runner.run(_measure(bench, box, cloud, echo))


async def _measure(bench: Bench, box: Box, cloud: Server, echo: Server) -> list[Row]:
    batches = max(1, bench.settings.backlog // BATCH_EVENTS_MAX // bench.settings.rounds)
    drained: list[float] = []
    posted: list[float] = []
    cloud_us: list[float] = []
    async with _drain(box, cloud) as (drain, journal, first), aiohttp.ClientSession(echo.url) as session:
        packed = pack(first.head, first.bodies)
        for _ in range(bench.settings.rounds):
            posted.append(await _posted_per_s(session, packed, len(first.bodies), batches))
            before_s, before = cpu_s(cloud.pid), _synced(journal)
            drained.append(await _drained_per_s(drain, journal, batches))
            cloud_us.append(1e6 * (cpu_s(cloud.pid) - before_s) / (_synced(journal) - before))
    payload_bytes = sum(map(len, first.bodies))
    return [
        row(
            NAME,
            "backlog to head office",
            "events/s",
            drained,
            against("bare POST of the same", drained, posted),
        ),
        row(NAME, "head office's CPU for an event", "us", cloud_us),
        row(NAME, "wire bytes / payload bytes", "", [len(packed) / payload_bytes]),
        row(NAME, "payload of an event", "bytes", [payload_bytes / len(first.bodies)]),
    ]


async def _drained_per_s(drain: Drain, journal: Journal, batches: int) -> float:
    began, before = time.perf_counter(), _synced(journal)
    for _ in range(batches):
        await drain.step()
    return (_synced(journal) - before) / (time.perf_counter() - began)


def _synced(journal: Journal) -> int:
    return sum(journal.synced().values())


async def _posted_per_s(session: aiohttp.ClientSession, packed: bytes, events: int, batches: int) -> float:
    began = time.perf_counter()
    for _ in range(batches):
        async with session.post("/", data=packed, headers={"Content-Type": BATCH_MEDIA}) as response:
            await response.read()
    return batches * events / (time.perf_counter() - began)


@asynccontextmanager
async def _drain(box: Box, cloud: Server) -> AsyncIterator[tuple[Drain, Journal, OutgoingBatch]]:
    """The drain of this box, its journal, and the batch that goes first."""
    clock, rng, identity = SystemClock(), random.Random(SEED), Identity(box.config.state)
    keys, token = identity.enrolment().keys(), identity.enrolment().answer.box_token
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
        drain = Drain(journal, outgoing, gateway, wan, Feed(), keys, clock, rng)
        first = await outgoing.next_batch(BATCH_EVENTS_MAX)
        assert first is not None  # there is a backlog
        yield drain, journal, first

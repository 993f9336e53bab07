"""A drain between a journal on disk and a fake cloud, and what its tests do with it."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.domain.link import PROOF_GAP_S, Cause, LinkState
from appliance.runtime.database import read_only_uri
from appliance.services.drain import Drain
from appliance.services.feed import Feed
from appliance.services.wan import WanWatch
from appliance.storage.journal import Journal
from appliance.storage.outgoing import open_outgoing
from tests.fakes.clock import FakeClock
from tests.fakes.cloud import FakeCloud
from tests.fakes.journals import BOX, KEYS, a_journal, a_note
from tests.fakes.tasks import running_task


@dataclass
class World:
    clock: FakeClock
    journal: Journal
    cloud: FakeCloud
    wan: WanWatch
    feed: Feed
    drain: Drain

    def stored(self, epoch: int = 1) -> list[int]:
        return [sealed.link.seq for sealed in self.cloud.events[epoch]]

    async def step(self) -> bool:
        step = asyncio.ensure_future(self.drain.step())
        await self.clock.run_until(step)
        return step.result()

    async def come_online(self) -> None:
        self.wan.observe(Cause.OK, 0.02)
        await self.clock.advance(PROOF_GAP_S)
        self.wan.observe(Cause.OK, 0.02)
        assert self.wan.link.state is LinkState.ONLINE


@asynccontextmanager
async def a_world(folder: Path, cloud_kind: type[FakeCloud] = FakeCloud) -> AsyncIterator[World]:
    clock, rng, feed = FakeClock(), random.Random(1), Feed()
    wan = WanWatch(clock, rng)
    async with (
        a_journal(folder, clock) as journal,
        open_outgoing(read_only_uri(folder / "journal.db")) as outgoing,
    ):
        cloud = cloud_kind(clock, BOX, KEYS, observe=wan.observe)
        drain = Drain(journal, outgoing, cloud, wan, feed, cloud.keys, clock, rng)
        yield World(clock, journal, cloud, wan, feed, drain)


@asynccontextmanager
async def draining(world: World) -> AsyncIterator[asyncio.Task[None]]:
    async with running_task(world.drain.run()) as task:
        yield task


async def fill(world: World, count: int) -> None:
    for begin in range(0, count, 100):
        await asyncio.gather(*(world.journal.append(a_note(begin + number)) for number in range(100)))

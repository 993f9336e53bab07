"""How much the drain sends at once, and what it packs ahead."""

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from appliance.domain import batch, event
from appliance.domain.errors import CloudRefused, CloudUnreachable
from appliance.domain.link import Cause
from appliance.domain.pace import PROOF_EVENTS
from tests.fakes.cloud import FakeCloud
from tests.fakes.journals import a_note
from tests.integration.drain.world import a_world, draining, fill


async def test_the_first_batch_over_a_line_that_came_back_is_small(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, draining(world):
        for number in range(100):
            await world.journal.append(a_note(number))

        world.wan.observe(Cause.OK, 0.02)
        await world.clock.run_until(lambda: world.cloud.events[1], within_s=5)

        assert len(world.cloud.events[1]) == PROOF_EVENTS


class NarrowCloud(FakeCloud):
    """Stands behind a proxy that takes no more than so many events at once."""

    takes = 60

    def _ingest(self, packed: bytes, nonce: str) -> bytes:
        if len(batch.unpack(packed).bodies) > self.takes:
            raise CloudRefused("too large", status=413, problem="too-large")
        return super()._ingest(packed, nonce)


async def test_a_batch_that_is_too_large_is_halved_until_it_passes(tmp_path: Path) -> None:
    async with a_world(tmp_path, NarrowCloud) as world:
        await world.come_online()
        for number in range(400):
            await world.journal.append(a_note(number))
        async with draining(world):
            await world.clock.run_until(lambda: world.journal.backlog() == 0, within_s=60)

        assert world.stored() == list(range(1, 402))
        # 401, 200, 100 are too large; 50 pass, and the size then grows again by steps.
        assert world.cloud.calls.count("send_batch") < 20


class SlitCloud(NarrowCloud):
    """Takes less at once than the batch that proves a line."""

    takes = PROOF_EVENTS // 4


async def test_the_batch_that_proves_a_line_is_halved_too(tmp_path: Path) -> None:
    async with a_world(tmp_path, SlitCloud) as world:
        for number in range(PROOF_EVENTS):
            await world.journal.append(a_note(number))
        world.wan.observe(Cause.OK, 0.02)
        assert world.wan.link.half_open
        async with draining(world):
            await world.clock.run_until(lambda: world.journal.backlog() == 0, within_s=60)

        assert world.drain.stopped is None


async def test_a_single_group_that_is_too_large_stops_the_drain_loudly(tmp_path: Path) -> None:
    async with a_world(tmp_path, NarrowCloud) as world, draining(world):
        await asyncio.gather(*(world.journal.append(a_note(number)) for number in range(100)))
        await world.come_online()
        await world.clock.run_until(lambda: world.drain.stopped is not None, within_s=60)

        assert world.drain.stopped is not None
        assert world.drain.stopped.code == "too-large"


class FaintCloud(FakeCloud):
    """Behind a line on which only small batches come through."""

    sizes: ClassVar[list[int]] = []

    def _ingest(self, packed: bytes, nonce: str) -> bytes:
        self.sizes.append(len(batch.unpack(packed).bodies))
        if self.sizes[-1] > 40:
            raise CloudUnreachable("the line died under it", cause=Cause.NO_ANSWER)
        return super()._ingest(packed, nonce)


async def test_on_a_line_that_dies_under_large_batches_smaller_ones_are_tried(tmp_path: Path) -> None:
    async with a_world(tmp_path, FaintCloud) as world:
        await world.come_online()
        for number in range(300):
            await world.journal.append(a_note(number))
        for _ in range(3):
            with pytest.raises(CloudUnreachable):
                await world.step()
        assert await world.step()

        assert FaintCloud.sizes == [301, 150, 75, 37]


class CountingCloud(FakeCloud):
    """Remembers which events each batch brought."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.came: list[tuple[int, int]] = []

    def _ingest(self, packed: bytes, nonce: str) -> bytes:
        seqs = [event.read(body).link.seq for body in batch.unpack(packed).bodies]
        assert seqs == list(range(seqs[0], seqs[-1] + 1))
        self.came.append((seqs[0], seqs[-1]))
        return super()._ingest(packed, nonce)


async def test_a_long_backlog_goes_in_batches_that_grow_each_behind_the_one_before(tmp_path: Path) -> None:
    async with a_world(tmp_path, CountingCloud) as world:
        await world.come_online()
        await fill(world, 4_000)
        while await world.step():
            pass

        assert world.stored() == list(range(1, 4_002))
        came = cast(CountingCloud, world.cloud).came
        assert all(before[1] + 1 == after[0] for before, after in pairwise(came))
        sizes = [last - first + 1 for first, last in came]
        assert len(sizes) == 4  # 500, 1,000, 2,000, the rest; each cut at the end of a commit group
        assert sizes[0] <= 500 < sizes[1] <= 1_000 < sizes[2] <= 2_000


async def test_what_was_packed_ahead_is_not_sent_over_a_failure(tmp_path: Path) -> None:
    async with a_world(tmp_path, CountingCloud) as world:
        await world.come_online()
        await fill(world, 2_000)
        assert await world.step()
        world.cloud.lose_answers = 1

        with pytest.raises(CloudUnreachable):
            await world.step()
        while await world.step():
            pass

        came = cast(CountingCloud, world.cloud).came
        assert came[2][0] == came[1][0]  # from the last receipt again
        assert came[2][1] < came[1][1]  # and less of it
        assert world.stored() == list(range(1, 2_002))


async def test_what_was_packed_ahead_waits_for_the_proof_of_a_line_that_broke(tmp_path: Path) -> None:
    async with a_world(tmp_path, CountingCloud) as world:
        await world.come_online()
        await fill(world, 2_000)
        assert await world.step()
        for _ in range(3):  # probes say so: no batch was on its way
            await world.clock.advance(5.0)
            world.wan.observe(Cause.NO_ANSWER, 0.1)
        world.wan.observe(Cause.OK, 0.02)
        assert world.wan.link.half_open
        assert await world.step()

        (_, first), (begin, end) = cast(CountingCloud, world.cloud).came
        assert begin == first + 1
        assert end - begin < 120  # one commit group: there is no smaller batch

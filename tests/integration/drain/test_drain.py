"""The drain brings every event to the cloud once, in order, whatever the line does in between."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.domain import batch, event
from appliance.domain.dsse import Signer
from appliance.domain.errors import CloudRefused, CloudUnreachable
from appliance.domain.event import Sealed
from appliance.domain.link import PROOF_GAP_S, Cause, LinkState
from appliance.domain.pace import PROOF_EVENTS
from appliance.domain.wire import SyncedView
from appliance.runtime.database import read_only_uri
from appliance.services.drain import HOLD_S, Drain, DrainStopped
from appliance.services.feed import Feed
from appliance.services.wan import WanWatch
from appliance.storage.journal import Journal
from appliance.storage.outgoing import open_outgoing
from tests.fakes.clock import FakeClock
from tests.fakes.cloud import FakeCloud
from tests.fakes.journals import BOX, KEYS, a_draft, a_journal, a_note
from tests.fakes.sales import a_sale
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


async def test_everything_waiting_is_delivered_and_settled(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await world.come_online()
        for number in range(5):
            await world.journal.append(a_note(number))
        async with draining(world):
            await world.clock.run_until(lambda: world.journal.backlog() == 0, within_s=5)

        assert world.stored() == list(range(1, 7))


async def test_an_event_appended_later_is_sent_at_once(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, draining(world):
        await world.come_online()
        await world.clock.run_until(lambda: world.journal.backlog() == 0, within_s=5)
        began_s = world.clock.monotonic()

        await world.journal.append(a_draft(a_sale()))
        await world.clock.run_until(lambda: world.journal.backlog() == 0, within_s=5)

        assert world.clock.monotonic() - began_s < 0.5


async def test_nothing_is_sent_while_offline_and_all_of_it_after(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, draining(world):
        for number in range(30):
            await world.journal.append(a_note(number))
        await world.clock.advance(3_600)
        assert world.cloud.calls == []

        await world.come_online()
        await world.clock.run_until(lambda: world.journal.backlog() == 0, within_s=5)
        assert world.stored() == list(range(1, 32))


async def test_the_first_batch_over_a_line_that_came_back_is_small(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, draining(world):
        for number in range(100):
            await world.journal.append(a_note(number))

        world.wan.observe(Cause.OK, 0.02)
        await world.clock.run_until(lambda: world.cloud.events[1], within_s=5)

        assert len(world.cloud.events[1]) == PROOF_EVENTS


async def test_a_lost_answer_doubles_nothing(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await world.come_online()
        await world.journal.append(a_note(1))
        world.cloud.lose_answers = 2

        async with draining(world):
            await world.clock.run_until(lambda: world.journal.backlog() == 0, within_s=600)

        assert world.stored() == [1, 2]
        assert world.cloud.calls.count("send_batch") == 3


async def test_it_never_gives_up(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await world.come_online()
        world.cloud.cut(Cause.CLOUD_DOWN)
        async with draining(world):
            for _ in range(300):
                await world.clock.advance(8_640)
                world.wan.observe(Cause.OK, 0.02)  # the line flickers: each time the drain tries again
            assert world.journal.backlog() == 1

            world.cloud.mend()
            await world.come_online()
            await world.clock.run_until(lambda: world.journal.backlog() == 0, within_s=120)


async def test_waits_between_tries_grow_and_never_pass_the_cap(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await world.come_online()
        # Every second request succeeds, so the line stays up and only the back-off decides.
        world.cloud.line = lambda: Cause.CLOUD_DOWN if world.cloud.calls[-1] == "send_batch" else Cause.OK
        starts: list[float] = []
        world.cloud.observe = lambda cause, took_s, bulk: starts.append(world.clock.monotonic())
        async with draining(world):
            await world.clock.advance(1_200)

        gaps = [later - earlier for earlier, later in pairwise(starts)]
        assert max(gaps) <= 61
        assert max(gaps[8:]) > 10


@pytest.mark.parametrize("code", ["fork", "gap"])
async def test_a_broken_chain_stops_the_drain_loudly_and_drops_nothing(tmp_path: Path, code: str) -> None:
    async with a_world(tmp_path) as world, draining(world):
        world.cloud.refusal = CloudRefused("the chain", status=409, problem=code)
        await world.come_online()
        await world.clock.run_until(lambda: world.drain.stopped is not None, within_s=60)
        assert world.drain.stopped is not None
        assert world.drain.stopped.code == code

        world.cloud.refusal = None
        await world.journal.append(a_draft(a_sale()))
        await world.clock.advance(3_600)
        assert world.cloud.calls.count("send_batch") == 1
        assert world.journal.backlog() == world.journal.end.seq == 3  # opening, drain_stopped, the sale


async def test_an_unknown_identity_is_held_and_asked_again(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await world.come_online()
        world.cloud.refusal = CloudRefused("who are you", status=401, problem="unauthenticated")
        async with draining(world):
            await world.clock.advance(HOLD_S / 2)
            assert world.cloud.calls.count("send_batch") == 1

            world.cloud.refusal = None
            await world.clock.run_until(lambda: world.journal.backlog() == 0, within_s=2 * HOLD_S)


class ForgingCloud(FakeCloud):
    """Signs with a key that the box does not know."""

    def _ingest(self, packed: bytes, nonce: str) -> bytes:
        self.signer = Signer(Ed25519PrivateKey.generate())
        return super()._ingest(packed, nonce)


class ReplayingCloud(FakeCloud):
    """Answers with the receipt of another request."""

    def _ingest(self, packed: bytes, nonce: str) -> bytes:
        return super()._ingest(packed, "00" * 16)


class ForgetfulCloud(FakeCloud):
    """Stores the first event of a batch only, and gives an honest receipt for that."""

    def _store(self, stored: list[Sealed], sealed: Sealed, epoch: int) -> None:
        if not stored:
            super()._store(stored, sealed, epoch)


@pytest.mark.parametrize("liar", [ForgingCloud, ReplayingCloud])
async def test_an_answer_that_the_cloud_did_not_sign_for_this_request_settles_nothing(
    tmp_path: Path, liar: type[FakeCloud]
) -> None:
    async with a_world(tmp_path, liar) as world:
        await world.come_online()

        with pytest.raises(CloudUnreachable):
            await world.step()

        assert world.journal.backlog() == 1


async def test_a_receipt_that_does_not_cover_the_batch_stops_the_drain(tmp_path: Path) -> None:
    async with a_world(tmp_path, ForgetfulCloud) as world:
        await world.come_online()
        await world.journal.append(a_note(1))

        with pytest.raises(DrainStopped):
            await world.step()

        assert world.journal.backlog() == 2


async def test_listeners_hear_what_is_synced(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, draining(world):
        await world.come_online()
        await world.clock.run_until(lambda: world.journal.backlog() == 0, within_s=5)

        with world.feed.subscribe() as subscription:
            assert await subscription.next() == ("synced", SyncedView(1, 1))


async def test_a_receipt_confirms_the_clock(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, draining(world):
        await world.come_online()
        await world.clock.run_until(lambda: world.journal.backlog() == 0, within_s=5)

        assert len(world.clock.confirmed) == 1


async def test_a_restart_goes_on_after_the_last_receipt(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await world.come_online()
        assert await world.step()

    async with a_world(tmp_path) as world:
        await world.come_online()
        assert not await world.step()
        assert world.cloud.calls == []


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


async def fill(world: World, count: int) -> None:
    for begin in range(0, count, 100):
        await asyncio.gather(*(world.journal.append(a_note(begin + number)) for number in range(100)))


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


async def test_a_stop_in_the_middle_leaves_nothing_behind(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await world.come_online()
        await fill(world, 2_000)
        before = len(asyncio.all_tasks())
        step = asyncio.ensure_future(world.drain.step())
        await world.clock.run_until(lambda: "send_batch" in world.cloud.calls)
        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await step

        assert len(asyncio.all_tasks()) == before
        assert world.journal.synced() == {}

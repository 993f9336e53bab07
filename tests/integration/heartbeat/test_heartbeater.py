"""Heartbeats, as head office hears them."""

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.domain.dsse import Signer
from appliance.domain.errors import CloudRefused
from appliance.domain.gate import Policy
from appliance.domain.health import HostReading, judge
from appliance.domain.link import Cause
from appliance.domain.wire import JournalView, PairingOrder, Status
from appliance.gateways.host import MachineHost
from appliance.runtime.database import open_writer
from appliance.runtime.migrations import migrate
from appliance.services.gate import Gate
from appliance.services.heartbeat import Heartbeater, LanView
from appliance.services.wan import WanWatch
from appliance.storage.policies import Policies
from tests.fakes.clock import FakeClock
from tests.fakes.cloud import FakeCloud
from tests.fakes.tasks import running_task


class Box:
    """A box that knows how it is, its line, and the head office that hears it."""

    def __init__(
        self, gate: Gate, wan: WanWatch, cloud: FakeCloud, clock: FakeClock, signer: Signer, path: Path
    ) -> None:
        self.gate, self.wan, self.cloud, self.clock = gate, wan, cloud, clock
        self.nudges: list[int] = []
        self.rest_s = 10.0
        self.heartbeater = Heartbeater(
            cloud,
            signer,
            wan,
            gate,
            MachineHost(path),
            self.status,
            clock,
            random.Random(1),
            nudge_catalogue=self.nudges.append,
            rest_s=lambda: self.rest_s,
        )

    def status(self) -> Status:
        return Status(
            box="sb-fake",
            shop="lyon",
            software="0.1.0",
            state="online",
            uptime_s=12.5,
            mode=self.wan.mode_view(),
            journal=JournalView(
                epoch=2, seq=40, head="ab" * 32, synced_seq=38, backlog=2, oldest_waiting_s=1.5
            ),
            catalogue_version=7,
            catalogue_age_s=3.0,
            articles=100,
            policy_version=self.gate.policy.version,
            tills_seen=3,
            issues=[],
            sales_accepted=0,
            sales_replayed=0,
            sales_conflicting=0,
            sales_flagged=0,
            operations_refused=0,
            operations_passed=0,
        )

    async def go_online(self) -> None:
        self.wan.observe(Cause.OK, 0.02)
        await self.clock.advance(5.0)
        self.wan.observe(Cause.OK, 0.02)

    async def step(self) -> None:
        await self.clock.run_until(asyncio.create_task(self.heartbeater.step()))

    @contextlib.asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        async with running_task(self.heartbeater.run()):
            yield


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    clock, signer = FakeClock(), Signer(Ed25519PrivateKey.generate())
    wan = WanWatch(clock, random.Random(1))
    cloud = FakeCloud(clock, box_keys={signer.key_id: signer.public_key})
    async with open_writer(tmp_path / "mirror.db") as writer:
        await migrate(writer, files("appliance.storage") / "schema" / "mirror")
        yield Box(Gate(Policies(writer), cloud.keys, wan), wan, cloud, clock, signer, tmp_path)


async def test_head_office_hears_how_the_box_is(box: Box) -> None:
    await box.go_online()

    await box.step()

    (beat,) = box.cloud.heartbeats
    assert (beat.box, beat.shop, beat.boot, beat.software) == ("sb-fake", "lyon", "boot-1", "0.1.0")
    assert (beat.epoch, beat.seq, beat.synced_seq, beat.backlog) == (2, 40, 38, 2)
    assert (beat.link, beat.cause, beat.mode) == ("online", "ok", "cloud")
    assert (beat.catalogue_version, beat.policy_version, beat.tills_seen) == (7, 0, 3)
    assert beat.memory_rss_bytes > 1_000_000
    assert judge(beat, 0.0).reason in ("all-well", "disk-filling", "disk-nearly-full")


async def test_nothing_is_sent_while_offline(box: Box) -> None:
    async with box.beating():
        await box.clock.advance(300.0)
        await box.heartbeater.step()

    assert box.cloud.calls == []


async def test_the_first_heartbeat_goes_out_as_soon_as_the_line_is_there(box: Box) -> None:
    async with box.beating():
        await box.clock.advance(17.0)
        box.wan.observe(Cause.OK, 0.02)
        await box.clock.run_until(lambda: bool(box.cloud.heartbeats), within_s=0.1)

    assert box.cloud.heartbeats[0].cause == "proving"


async def test_a_change_of_the_line_is_told_at_once(box: Box) -> None:
    async with box.beating():
        await box.go_online()
        await box.clock.run_until(lambda: len(box.cloud.heartbeats) == 2, within_s=0.1)

    assert [beat.link for beat in box.cloud.heartbeats] == ["degraded", "online"]


async def test_heartbeats_come_as_often_as_the_rhythm_says_or_so(box: Box) -> None:
    box.rest_s, box.cloud.next_s = 30.0, 10.0
    await box.go_online()
    sent: list[float] = []
    async with box.beating():
        for _ in range(11):
            await box.clock.run_until(lambda: len(box.cloud.heartbeats) > len(sent))
            sent.append(box.clock.monotonic())

    gaps = [later - earlier for earlier, later in itertools.pairwise(sent)]
    assert 26.9 <= min(gaps) < max(gaps) <= 33.1


@pytest.mark.parametrize(("asked_s", "heard_s"), [(120.0, 120.0), (0.0, 10.0), (1e9, 3_600.0)])
async def test_none_comes_sooner_than_head_office_wants_it(box: Box, asked_s: float, heard_s: float) -> None:
    await box.go_online()
    box.cloud.next_s = asked_s
    async with box.beating():
        await box.clock.run_until(lambda: len(box.cloud.heartbeats) == 1)
        first_s = box.clock.monotonic()
        await box.clock.run_until(lambda: len(box.cloud.heartbeats) == 2)

    assert box.clock.monotonic() - first_s == pytest.approx(heard_s, rel=0.11)


async def test_the_catalogue_version_is_passed_on_each_time(box: Box) -> None:
    await box.go_online()
    await box.step()
    box.cloud.publish([])
    await box.step()

    assert box.nudges == [0, 1]


async def test_a_newer_policy_is_fetched_and_in_force(box: Box) -> None:
    await box.go_online()
    box.cloud.policy_in_force = Policy(3, {})

    await box.step()
    await box.step()

    assert box.gate.policy == Policy(3, {})
    assert box.cloud.calls == ["heartbeat", "policy", "heartbeat"]


@pytest.mark.parametrize("trouble", ["cut", "refusal", "forged policy"])
async def test_trouble_costs_one_heartbeat_and_nothing_else(box: Box, trouble: str) -> None:
    await box.go_online()
    if trouble == "cut":
        box.cloud.cut(Cause.NO_DNS)
    elif trouble == "refusal":
        box.cloud.refusal = CloudRefused(status=403, problem="not-allowed")
    else:
        box.cloud.policy_in_force = Policy(9, {})
        box.cloud.signer = Signer(Ed25519PrivateKey.generate())
    async with box.beating():
        await box.clock.advance(40.0)
        box.cloud.mend()
        box.cloud.refusal = None
        box.cloud.heartbeats.clear()
        await box.clock.advance(40.0)

    assert box.cloud.heartbeats
    assert box.gate.policy.version == 0


def test_the_machine_tells_ratios_and_its_own_memory(tmp_path: Path) -> None:
    reading = MachineHost(tmp_path).read()

    assert isinstance(reading, HostReading)
    assert 0.0 <= reading.disk_free_ratio <= 1.0
    assert 0.0 <= reading.cpu_ratio <= 1.0
    assert 1_000_000 < reading.memory_rss_bytes < 2_000_000_000


async def test_it_is_said_when_the_next_one_comes(box: Box) -> None:
    box.cloud.next_s = 5.0
    await box.go_online()
    await box.step()
    box.rest_s = 120.0
    await box.step()

    assert [beat.next_s for beat in box.cloud.heartbeats] == [10.0, 120.0]


async def test_a_box_that_keeps_its_rhythm_is_never_called_silent(box: Box) -> None:
    box.rest_s, box.cloud.next_s = 120.0, 10.0
    await box.go_online()
    async with box.beating():
        await box.clock.run_until(lambda: len(box.cloud.heartbeats) == 2)

    assert judge(box.cloud.heartbeats[0], 133.0).reason != "silent"


async def test_head_office_hears_where_the_box_is_and_its_order_is_told(box: Box) -> None:
    order = PairingOrder("o-1", "s" * 22, 600.0)
    orders: list[PairingOrder] = []
    box.heartbeater.attach(lambda: LanView(["192.168.1.20"], 8480, 3, "blocked"), orders.append)
    box.cloud.pairing = order
    await box.go_online()

    await box.step()

    (beat,) = box.cloud.heartbeats
    assert (beat.addresses, beat.port, beat.tills_paired) == (["192.168.1.20"], 8480, 3)
    assert beat.multicast == "blocked"
    assert orders == [order]

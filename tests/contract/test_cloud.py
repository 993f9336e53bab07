"""One suite for everything that claims to be the cloud: the fake that fast tests use, and the real head office.

The real one is asked through the box's own gateway, over HTTP on loopback.
"""

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.domain.errors import CloudRefused, SnapshotRequired
from appliance.domain.gate import Policy
from appliance.domain.link import Cause
from appliance.domain.statements import POLICY_TYPE, RECEIPT_TYPE, Keys, Receipt, verify
from appliance.domain.wire import OperationRequest
from appliance.gateways.cloud import open_cloud
from appliance.services.ports import Cloud
from tests.fakes.boxes import LooseBox
from tests.fakes.clock import FakeClock
from tests.fakes.cloud import FakeCloud
from tests.fakes.sales import a_sale_id
from tests.integration.cloud.conftest import a_world


@dataclass
class Line:
    cloud: Cloud
    box: LooseBox
    keys: Keys
    samples: list[Cause]

    async def receipt(self, batch: bytes) -> Receipt:
        nonce = secrets.token_hex(16)
        receipt = verify(await self.cloud.send_batch(batch, nonce), RECEIPT_TYPE, Receipt, self.keys)
        assert (receipt.box, receipt.nonce) == (self.box.name, nonce)
        return receipt


class _Moving(FakeClock):
    """Time does not hold up the fake's answers."""

    async def sleep(self, seconds: float) -> None:
        self._pass(self.monotonic() + seconds)


@pytest.fixture(params=["fake", "real"])
async def line(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Line]:
    samples: list[Cause] = []

    def observe(cause: Cause, took_s: float, *, bulk: bool = False) -> None:
        samples.append(cause)

    if request.param == "fake":
        box = LooseBox(7)
        fake = FakeCloud(_Moving(), box.name, box.keys, observe=observe)
        yield Line(fake, box, fake.keys, samples)
        return
    async with a_world(tmp_path / "cloud", FakeClock()) as world:
        enrolled = await world.enrolled(7)
        async with open_cloud(
            str(world.session._base_url),
            token=enrolled.token,
            box=enrolled.box.name,
            keys=enrolled.cloud,
            clock=FakeClock(),
            observe=observe,
        ) as cloud:
            yield Line(cloud, enrolled.box, enrolled.cloud, samples)


async def test_a_probe_returns_and_is_one_good_sample(line: Line) -> None:
    await line.cloud.probe()

    assert line.samples == [Cause.OK]


async def test_a_batch_gets_a_receipt_at_its_end(line: Line) -> None:
    events = line.box.notes(3)

    receipt = await line.receipt(line.box.pack(events))

    assert (receipt.epoch, receipt.seq, receipt.head) == (1, 3, events[-1].hash.hex())
    assert line.samples == [Cause.OK]


async def test_a_repeated_batch_gets_a_receipt_again(line: Line) -> None:
    events = line.box.notes(3)
    await line.receipt(line.box.pack(events))

    assert (await line.receipt(line.box.pack(events))).seq == 3


async def test_a_batch_that_overlaps_adds_only_what_is_new(line: Line) -> None:
    events = line.box.notes(5)
    await line.receipt(line.box.pack(events[:3]))

    assert (await line.receipt(line.box.pack(events[1:]))).seq == 5


async def test_an_old_batch_gets_a_receipt_that_is_not_behind_it(line: Line) -> None:
    events = line.box.notes(5)
    await line.receipt(line.box.pack(events))

    assert (await line.receipt(line.box.pack(events[:2]))).seq == 5


@pytest.mark.parametrize("code", ["fork", "gap"])
async def test_a_broken_chain_is_refused_and_is_no_trouble_of_the_line(line: Line, code: str) -> None:
    events, others = line.box.notes(5), line.box.chain([{"other": n} for n in range(5)])
    await line.receipt(line.box.pack(events[:2]))

    with pytest.raises(CloudRefused) as caught:
        await line.cloud.send_batch(
            line.box.pack(others if code == "fork" else events[3:]), secrets.token_hex(16)
        )

    assert (caught.value.fields["status"], caught.value.fields["problem"]) == (409, code)
    assert line.samples[-1] is Cause.OK


async def test_a_heartbeat_is_answered_with_the_versions_in_force(line: Line) -> None:
    answer = await line.cloud.heartbeat(line.box.heartbeat())

    assert answer.next_s > 0
    assert answer.catalogue_version == 0


async def test_the_policy_is_signed_by_the_cloud(line: Line) -> None:
    policy = verify(await line.cloud.policy(), POLICY_TYPE, Policy, line.keys)

    assert "credit_note" in policy.online_only


async def test_a_catalogue_can_be_fetched_and_changes_of_the_future_cannot(
    line: Line, tmp_path: Path
) -> None:
    await line.cloud.fetch_catalogue(None, tmp_path / "transfer")
    assert (tmp_path / "transfer").stat().st_size > 0

    with pytest.raises(SnapshotRequired):
        await line.cloud.fetch_catalogue(999, tmp_path / "transfer")
    assert line.samples == [Cause.OK, Cause.OK]


async def test_an_operation_is_done_once_however_often_it_is_asked(line: Line) -> None:
    request = OperationRequest(a_sale_id(1), {"to": "S043"})

    first = await line.cloud.operation("transfer", request)

    assert await line.cloud.operation("transfer", request) == first


async def test_an_operation_id_used_for_something_else_is_refused(line: Line) -> None:
    await line.cloud.operation("transfer", OperationRequest(a_sale_id(1), {"to": "S043"}))

    with pytest.raises(CloudRefused) as caught:
        await line.cloud.operation("transfer", OperationRequest(a_sale_id(1), {"to": "S044"}))

    assert caught.value.fields["status"] == 409

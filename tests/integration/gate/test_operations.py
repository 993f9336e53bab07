"""Operations that need head office: passed on, refused, or in doubt; never queued."""

import asyncio
import random
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path

import pytest

from appliance.domain.errors import (
    CloudRefused,
    DiskFull,
    NotFound,
    OnlineOnly,
    OperationRejected,
    OutcomeUnknown,
)
from appliance.domain.link import Cause
from appliance.domain.wire import OperationAnswer, OperationRequest
from appliance.runtime.database import open_writer
from appliance.runtime.migrations import migrate
from appliance.services.gate import Gate
from appliance.services.operations import Operations
from appliance.services.wan import WanWatch
from appliance.storage.policies import Policies
from tests.fakes.clock import FakeClock
from tests.fakes.cloud import FakeCloud
from tests.fakes.recorder import FakeRecorder
from tests.fakes.sales import a_line, a_sale, a_sale_id


class Box:
    """The parts that an operation passes through."""

    def __init__(self, gate: Gate, wan: WanWatch, clock: FakeClock) -> None:
        self.clock, self.wan, self.gate = clock, wan, gate
        self.cloud = FakeCloud(clock)
        self.recorder = FakeRecorder()
        self.operations = Operations(gate, self.cloud, self.recorder)

    async def go_online(self) -> None:
        self.wan.observe(Cause.OK, 0.02)
        await self.clock.advance(5.0)
        self.wan.observe(Cause.OK, 0.02)
        assert self.wan.link.online

    async def perform(self, name: str, request: OperationRequest) -> OperationAnswer:
        task = asyncio.create_task(self.operations.perform(name, request, "till-1"))
        await self.clock.run_until(task)
        return await task


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    clock = FakeClock()
    wan = WanWatch(clock, random.Random(1))
    async with open_writer(tmp_path / "mirror.db") as writer:
        await migrate(writer, files("appliance.storage") / "schema" / "mirror")
        yield Box(Gate(Policies(writer), {}, wan), wan, clock)


def a_request(note: str = "") -> OperationRequest:
    return OperationRequest(a_sale_id(), {"note": note})


async def test_online_an_operation_is_done_by_the_cloud(box: Box) -> None:
    await box.go_online()
    request = a_request()

    answer = await box.perform("deposit", request)

    assert (answer.operation, answer.operation_id) == ("deposit", request.operation_id)
    assert list(box.cloud.operations) == [request.operation_id]
    assert (box.operations.counts.passed, box.operations.counts.refused) == (1, 0)


async def test_offline_an_operation_is_refused_recorded_and_never_sent(box: Box) -> None:
    request = a_request()

    with pytest.raises(OnlineOnly) as refusal:
        await box.perform("deposit", request)
    await box.go_online()

    assert refusal.value.fields["sentence"]["fr"] == "Acompte impossible hors ligne."
    assert box.recorder.recorded == [
        (
            "operation_refused",
            {"operation": "deposit", "operation_id": request.operation_id, "cause": "starting"},
            "till-1",
        )
    ]
    assert box.operations.counts.refused == 1
    assert box.cloud.calls == []


async def test_a_till_that_insists_is_refused_each_time_and_recorded_once(box: Box) -> None:
    request = a_request()

    for _ in range(3):
        with pytest.raises(OnlineOnly):
            await box.perform("deposit", request)

    assert box.operations.counts.refused == 3
    assert len(box.recorder.recorded) == 1


async def test_a_refusal_stands_even_when_it_cannot_be_recorded(box: Box) -> None:
    request = a_request()
    box.recorder.failure = DiskFull()
    with pytest.raises(OnlineOnly):
        await box.perform("deposit", request)

    box.recorder.failure = None
    with pytest.raises(OnlineOnly):
        await box.perform("deposit", request)

    assert len(box.recorder.recorded) == 1


async def test_an_operation_that_nobody_knows_is_not_found_online_or_off(box: Box) -> None:
    with pytest.raises(NotFound):
        await box.perform("teleport", a_request())
    await box.go_online()
    with pytest.raises(NotFound):
        await box.perform("teleport", a_request())

    assert box.cloud.calls == []


async def test_a_line_that_dies_in_the_middle_leaves_the_outcome_unknown_and_asking_again_is_safe(
    box: Box,
) -> None:
    await box.go_online()
    request = a_request()
    box.cloud.lose_answers = 1

    with pytest.raises(OutcomeUnknown) as doubt:
        await box.perform("deposit", request)
    answer = await box.perform("deposit", request)

    assert doubt.value.fields["operation_id"] == request.operation_id
    assert answer.operation_id == request.operation_id
    assert len(box.cloud.operations) == 1
    assert (box.operations.counts.unknown, box.operations.counts.passed) == (1, 1)


async def test_another_content_under_a_known_id_is_rejected(box: Box) -> None:
    await box.go_online()
    request = a_request("first")
    await box.perform("deposit", request)

    with pytest.raises(OperationRejected) as rejection:
        await box.perform("deposit", OperationRequest(request.operation_id, {"note": "second"}))

    assert rejection.value.fields["problem"] == "operation-conflict"
    assert box.operations.counts.rejected == 1


async def test_a_cloud_that_does_not_know_the_box_is_no_verdict_on_the_operation(box: Box) -> None:
    await box.go_online()
    box.cloud.refusal = CloudRefused(status=401, problem="unauthenticated")

    with pytest.raises(CloudRefused):
        await box.perform("deposit", a_request())

    assert box.operations.counts.rejected == 0


async def test_a_refused_sale_is_recorded_under_its_id(box: Box) -> None:
    sale = a_sale(lines=[a_line(line_type="deposit")])
    with pytest.raises(OnlineOnly) as refusal:
        box.gate.admit_sale(sale)

    for _ in range(2):
        await box.operations.refused_in_sale(sale, "till-1", refusal.value)

    assert box.recorder.recorded == [
        (
            "operation_refused",
            {"operation": "deposit", "sale_id": sale.sale_id, "cause": "starting"},
            "till-1",
        )
    ]
    assert box.operations.counts.refused == 2

"""Online-only operations: now or not at all, and never twice."""

from pathlib import Path

from appliance.domain.errors import OperationRejected
from tests.fakes.clock import FakeClock
from tests.fakes.till_box import FakeBox
from tests.fakes.till_cloud import FakeCloud
from tests.fakes.tills import Told, a_till
from till.report import ModeChanged, Passed, RefusedLine


async def test_in_cloud_mode_an_operation_goes_straight_to_the_cloud(tmp_path: Path) -> None:
    box, cloud, told = FakeBox(), FakeCloud(), Told()
    async with (
        box.serving(),
        cloud.serving(),
        a_till(tmp_path, told, FakeClock(), box=box, cloud=cloud) as till,
    ):
        passed = await till.operations.perform("transfer", {"to": "shop-2"})

    assert isinstance(passed, Passed)
    assert (passed.way, cloud.operations) == ("cloud", {passed.operation_id: "transfer"})
    assert box.operations == []


async def test_in_local_mode_the_box_refuses_with_its_sentence(tmp_path: Path) -> None:
    box, cloud, told = FakeBox(), FakeCloud(), Told()
    box.propose("local", "no-answer")
    async with (
        box.serving(),
        cloud.serving(),
        a_till(tmp_path, told, FakeClock(), box=box, cloud=cloud) as till,
    ):
        refused = await till.operations.perform("daily_closing", {})

    assert isinstance(refused, RefusedLine)
    assert (refused.code, refused.operation) == ("online-only", "daily_closing")
    assert refused.sentence == "No daily closing while offline."
    assert cloud.operations == {}


async def test_a_till_without_a_cloud_asks_through_an_online_box(tmp_path: Path) -> None:
    box, told = FakeBox(), Told()
    async with box.serving(), a_till(tmp_path, told, FakeClock(), box=box) as till:
        passed = await till.operations.perform("deposit", {})

    assert isinstance(passed, Passed)
    assert (passed.way, box.operations) == ("box", [passed.operation_id])


async def test_an_operation_that_the_cloud_may_have_done_is_not_called_refused(tmp_path: Path) -> None:
    box, cloud, told = FakeBox(), FakeCloud(), Told()
    cloud.silent_after_storing = True
    async with (
        box.serving(),
        cloud.serving(),
        a_till(tmp_path, told, FakeClock(), box=box, cloud=cloud) as till,
    ):
        box._mode = type(box._mode)("local", "offline", "no-answer", "later")
        told_of = await till.operations.perform("new_customer", {"name": "A"})

    assert isinstance(told_of, RefusedLine)
    assert told_of.code == "outcome-unknown"
    assert "may have been done" in told_of.sentence
    assert told.of(ModeChanged)[-1].cause == "no-answer"


async def test_an_operation_that_head_office_rejects_is_not_asked_elsewhere(tmp_path: Path) -> None:
    box, cloud, told = FakeBox(), FakeCloud(), Told()
    cloud.failing = OperationRejected()
    async with (
        box.serving(),
        cloud.serving(),
        a_till(tmp_path, told, FakeClock(), box=box, cloud=cloud) as till,
    ):
        refused = await till.operations.perform("transfer", {})

    assert isinstance(refused, RefusedLine)
    assert refused.code == "operation-rejected"
    assert box.operations == []
    assert told.of(ModeChanged) == []


async def test_when_nobody_answers_nothing_was_done_and_nothing_is_queued(tmp_path: Path) -> None:
    box, told, clock = FakeBox(), Told(), FakeClock()
    async with box.serving() as port:
        pass
    async with a_till(tmp_path, told, clock, box=box) as till:
        refused = await till.operations.perform("transfer", {})
        assert isinstance(refused, RefusedLine)
        assert refused.code == "no-answer"
        async with box.serving(port):
            await clock.run_until(lambda: box.listeners)
            await clock.advance(3_600)

    assert box.operations == []

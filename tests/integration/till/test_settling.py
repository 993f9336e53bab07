"""What becomes of a till's copies: the pending arrive later, the refused are kept, and what is synced is heard."""

import asyncio
from pathlib import Path

import pytest

from appliance.domain.errors import InvalidSale, NotReady, StorageFault
from appliance.domain.sale import parse_sale
from appliance.domain.wire import SyncedView
from tests.fakes.clock import FakeClock
from tests.fakes.tasks import until
from tests.fakes.till_box import FakeBox
from tests.fakes.till_cloud import FakeCloud
from tests.fakes.tills import Told, a_basket, a_credit_note, a_till
from till.report import Conflict, RefusedLine, Sold, Synced
from till.settling import BACK_OFF_CAP_S


async def test_selling_goes_on_when_neither_answers_and_everything_arrives_later(tmp_path: Path) -> None:
    box, cloud, told, clock = FakeBox(), FakeCloud(), Told(), FakeClock()
    async with cloud.serving() as port:
        pass
    async with a_till(tmp_path, told, clock, box=None, cloud=cloud) as till:
        for _ in range(3):
            sold = await till.selling.sell(a_basket())
            assert isinstance(sold, Sold)
            assert (sold.status, sold.code) == ("pending", "no-answer")
        async with cloud.serving(port):
            done = asyncio.create_task(till.settling.all_synced())
            await clock.run_until(done)

    assert [parse_sale(body).ticket_number for body in cloud.sales.values()] == [1, 2, 3]
    assert box.posted == []


@pytest.mark.parametrize("failure", [NotReady(), StorageFault()])
async def test_a_box_that_cannot_accept_now_leaves_the_sale_pending_and_gets_it_later(
    tmp_path: Path, failure: NotReady | StorageFault
) -> None:
    box, told, clock = FakeBox(), Told(), FakeClock()
    async with box.serving(), a_till(tmp_path, told, clock, box=box) as till:
        box.failing = failure
        sold = await till.selling.sell(a_basket())
        assert isinstance(sold, Sold)
        assert (sold.status, sold.code) == ("pending", failure.code)

        box.failing = None
        await clock.run_until(lambda: box.acks)

    assert len(box.acks) == 1


async def test_a_sale_that_is_refused_for_good_is_kept_with_its_reason_and_holds_up_nothing(
    tmp_path: Path,
) -> None:
    box, told, clock = FakeBox(), Told(), FakeClock()
    async with box.serving(), a_till(tmp_path, told, clock, box=box) as till:
        box.failing = InvalidSale("bad")
        refused = await till.selling.sell(a_basket())
        box.failing = None
        sold = await till.selling.sell(a_basket())
        kept = await till.copies.in_state("refused")

    assert isinstance(refused, RefusedLine)
    assert refused.code == "invalid-sale"
    assert [copy.code for copy in kept] == ["invalid-sale"]
    assert kept[0].body == box.posted[0]
    assert isinstance(sold, Sold)
    assert sold.ticket_number == 2


async def test_an_id_that_stands_for_another_sale_is_a_loud_conflict(tmp_path: Path) -> None:
    box, told, clock = FakeBox(), Told(), FakeClock()
    # Two tills born from the same seed make the same ids, as a cloned disk would.
    async with box.serving():
        async with a_till(tmp_path / "one", told, clock, box=box) as till:
            await till.selling.sell(a_basket())
        async with a_till(tmp_path / "two", told, clock, box=box) as till:
            await till.selling.sell(a_basket(quantity="2"))
            kept = await till.copies.in_state("refused")

    assert told.of(RefusedLine)[0].code == "sale-conflict"
    assert told.of(Conflict)[0].sale_id == kept[0].sale_id


async def test_an_online_only_operation_in_a_sale_is_refused_offline_and_takes_no_number(
    tmp_path: Path,
) -> None:
    box, told, clock = FakeBox(), Told(), FakeClock()
    box.propose("local", "no-answer")
    async with box.serving(), a_till(tmp_path, told, clock, box=box) as till:
        refused = await till.selling.sell(a_credit_note())
        sold = await till.selling.sell(a_basket())
        await clock.advance(3_600)
        withdrawn = await till.copies.in_state("withdrawn")

    assert isinstance(refused, RefusedLine)
    assert (refused.code, refused.operation) == ("online-only", "credit_note")
    assert refused.sentence == "No credit notes while offline: head office must approve."
    assert isinstance(sold, Sold)
    assert sold.ticket_number == 1
    assert len(withdrawn) == 1
    assert len(box.posted) == 2, "what was refused is not sent again"


async def test_an_online_only_sale_that_the_cloud_may_hold_is_asked_for_again_until_it_is_known(
    tmp_path: Path,
) -> None:
    box, cloud, told, clock = FakeBox(), FakeCloud(), Told(), FakeClock()
    async with box.serving(), cloud.serving(), a_till(tmp_path, told, clock, box=box, cloud=cloud) as till:
        box._mode = type(box._mode)("local", "offline", "no-answer", "later")
        cloud.silent_after_storing = True
        sold = await till.selling.sell(a_credit_note())
        assert isinstance(sold, Sold)
        assert (sold.status, sold.code) == ("pending", "outcome-unknown")

        cloud.silent_after_storing = False
        done = asyncio.create_task(till.settling.all_synced())
        await clock.run_until(done)

    assert list(cloud.sales) == [sold.sale_id]


async def test_synced_is_heard_for_everything_up_to_there(tmp_path: Path) -> None:
    box, told = FakeBox(), Told()
    async with box.serving(), a_till(tmp_path, told, FakeClock(), box=box) as till:
        for _ in range(3):
            await till.selling.sell(a_basket())
        box.sync(2)
        await told.wait(Synced, 2)
        assert [copy.seq for copy in await till.copies.in_state("accepted")] == [3]

        box.sync(3)
        await asyncio.wait_for(till.settling.all_synced(), 10)

    assert [line.ticket_number for line in told.of(Synced)] == [1, 2, 3]


async def test_synced_news_that_overtake_the_ack_are_not_lost(tmp_path: Path) -> None:
    box, told = FakeBox(), Told()
    async with box.serving(), a_till(tmp_path, told, FakeClock(), box=box) as till:
        await until(lambda: box.listeners)
        await till.settling.synced(box.id, SyncedView(1, 1))
        await till.selling.sell(a_basket())
        await asyncio.wait_for(till.settling.all_synced(), 10)

    assert [line.seq for line in told.of(Synced)] == [1]


async def test_a_till_that_restarts_brings_what_is_pending_and_never_doubles_it(tmp_path: Path) -> None:
    box, told, clock = FakeBox(), Told(), FakeClock()
    async with box.serving() as port:
        async with a_till(tmp_path, told, clock, box=box) as till:
            await till.selling.sell(a_basket())
        first = box.posted[0]
    async with a_till(tmp_path, told, clock, box=box) as till:
        await till.selling.sell(a_basket())
    async with box.serving(port), a_till(tmp_path, told, clock, box=box) as till:
        await until(lambda: len(box.acks) == 2)
        box.sync()
        await asyncio.wait_for(till.settling.all_synced(), 10)

    assert [parse_sale(body).ticket_number for body in box.posted] == [1, 2]
    assert box.posted[0] == first


async def test_a_look_up_without_an_answer_is_asked_again_and_no_sale_waits_for_ever(tmp_path: Path) -> None:
    box, told, clock = FakeBox(), Told(), FakeClock()
    async with box.serving() as port, a_till(tmp_path, told, clock, box=box) as till:
        for _ in range(3):
            await till.selling.sell(a_basket())
    box.look_ups_refused = 2
    async with box.serving(port), a_till(tmp_path, told, clock, box=box) as till:
        box.sync()
        await clock.advance(BACK_OFF_CAP_S)
        await asyncio.wait_for(till.settling.all_synced(), 10)

    assert sorted(line.seq or 0 for line in told.of(Synced)) == [1, 2, 3]

"""A box that lost sales it had acked gets them again, and is shown what it had signed."""

import asyncio
from pathlib import Path

import pytest

from appliance.domain.errors import DiskFull, NotFound, StoreboxError
from appliance.domain.event import GENESIS, Position
from appliance.domain.wire import SyncedView
from tests.fakes.clock import FakeClock
from tests.fakes.tasks import until
from tests.fakes.till_box import FakeBox
from tests.fakes.tills import Told, a_basket, a_credit_note, a_till
from till.report import Delivered, Lost, RolledBack, Sold


async def test_a_box_that_lost_its_tail_gets_the_sale_again(tmp_path: Path) -> None:
    box, told, clock = FakeBox(), Told(), FakeClock()
    async with box.serving() as port:
        async with a_till(tmp_path, told, clock, box=box) as till:
            sold = await till.selling.sell(a_basket())
        assert isinstance(sold, Sold)
    box.forget(sold.sale_id)
    async with box.serving(port), a_till(tmp_path, told, clock, box=box) as till:
        lost = await told.wait(Lost)
        await until(lambda: box.acks)
        box.sync()
        await asyncio.wait_for(till.settling.all_synced(), 10)
        copy = await till.copies.get(sold.sale_id)

    assert (lost.epoch, lost.seq) == (1, 1)
    assert (copy.state, copy.epoch, copy.seq) == ("synced", 2, 1)
    assert box.posted[0] == box.posted[1]


async def test_a_box_that_lost_its_end_is_shown_what_it_signed_before_it_gets_anything_again(
    tmp_path: Path,
) -> None:
    box, told, clock = FakeBox(), Told(), FakeClock()
    async with box.serving() as port, a_till(tmp_path, told, clock, box=box) as till:
        sold = [await till.selling.sell(a_basket()) for _ in range(3)]
    end, box.end = box.end, Position(1, 1, GENESIS)
    for line in sold[1:]:
        assert isinstance(line, Sold)
        del box.acks[line.sale_id], box.sales[line.sale_id]

    async with box.serving(port), a_till(tmp_path, told, clock, box=box):
        lost = await told.wait(RolledBack)
        posted = len(box.posted)
        await told.wait(Delivered, 2)

    assert (lost.epoch, lost.seq) == (1, 1)
    assert [head.position for head in box.shown] == [end]
    assert posted >= 3


@pytest.mark.parametrize("failing", [NotFound("an older box"), DiskFull(retry_after_s=1)])
async def test_a_box_that_does_not_take_the_witness_gets_its_sales_all_the_same(
    tmp_path: Path, failing: StoreboxError
) -> None:
    box, told, clock = FakeBox(), Told(), FakeClock()
    async with box.serving() as port, a_till(tmp_path, told, clock, box=box) as till:
        await till.selling.sell(a_basket())
    box.refusing_witness = failing
    box.end = Position(1, 0, GENESIS)
    box.acks.clear()
    box.sales.clear()

    async with box.serving(port), a_till(tmp_path, told, clock, box=box):
        await told.wait(Delivered)

    assert not told.of(RolledBack)


async def test_a_ticket_that_was_handed_out_is_never_withdrawn_when_a_box_lost_it(tmp_path: Path) -> None:
    box, told, clock = FakeBox(), Told(), FakeClock()
    async with box.serving() as port:
        async with a_till(tmp_path, told, clock, box=box) as till:
            sold = await till.selling.sell(a_credit_note())
        assert isinstance(sold, Sold)
        assert sold.status == "accepted"
    box.forget(sold.sale_id)
    box.propose("local", "no-answer")
    async with box.serving(port), a_till(tmp_path, told, clock, box=box) as till:
        await told.wait(Lost)
        await until(lambda: len(box.posted) > 1)
        await clock.settle()
        copy = await till.copies.get(sold.sale_id)

    assert copy.state == "pending"


async def test_news_of_a_box_that_lost_our_sale_do_not_pass_for_ours(tmp_path: Path) -> None:
    box, told = FakeBox(), Told()
    async with box.serving(), a_till(tmp_path, told, FakeClock(), box=box) as till:
        sold = await till.selling.sell(a_basket())
        assert isinstance(sold, Sold)
        assert till.lookout.box is not None
        box.forget(sold.sale_id)

        till.settling.met(till.lookout.box)
        await till.settling.synced(box.id, SyncedView(1, 1))  # another sale stands there by now

        assert (await told.wait(Lost)).sale_id == sold.sale_id
        await until(lambda: len(box.posted) == 2)

"""Selling two ways: the cloud while it answers, the box at once when it does not, and the way back."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

from appliance.domain.errors import NotReady
from appliance.domain.flags import flags
from appliance.domain.sale import parse_sale
from tests.fakes.clock import FakeClock
from tests.fakes.tasks import until
from tests.fakes.till_box import FakeBox
from tests.fakes.till_cloud import FakeCloud, a_proxys_error, a_sign_in_page, another_answer
from tests.fakes.tills import Told, a_basket, a_till
from till.modes import HOLD_S
from till.report import Delivered, ModeChanged, Proposal, Sold


async def test_a_sale_in_cloud_mode_goes_straight_to_the_cloud(tmp_path: Path) -> None:
    box, cloud, told = FakeBox(), FakeCloud(), Told()
    async with (
        box.serving(),
        cloud.serving(),
        a_till(tmp_path, told, FakeClock(), box=box, cloud=cloud) as till,
    ):
        sold = await till.selling.sell(a_basket())

    assert isinstance(sold, Sold)
    assert (sold.status, sold.way, sold.mode) == ("synced", "cloud", "cloud")
    assert list(cloud.sales) == [sold.sale_id]
    assert box.posted == []


async def test_what_the_till_makes_of_a_basket_adds_up(tmp_path: Path) -> None:
    box, told = FakeBox(), Told()
    async with box.serving(), a_till(tmp_path, told, FakeClock(), box=box) as till:
        await till.selling.sell(a_basket(quantity="0.333"))

    assert flags(parse_sale(box.posted[0])) == []


async def test_a_ticket_that_the_cloud_does_not_answer_goes_to_the_box_at_once_with_the_same_bytes(
    tmp_path: Path,
) -> None:
    box, cloud, told = FakeBox(), FakeCloud(), Told()
    cloud.silent_after_storing = True
    async with (
        box.serving(),
        cloud.serving(),
        a_till(tmp_path, told, FakeClock(), box=box, cloud=cloud) as till,
    ):
        sold = await till.selling.sell(a_basket())

        assert isinstance(sold, Sold)
        assert (sold.status, sold.way, sold.seq) == ("accepted", "box", 1)
        assert box.posted == [cloud.sales[sold.sale_id]]


async def test_after_a_silent_cloud_the_next_ticket_begins_at_the_box_with_the_boxs_cause(
    tmp_path: Path,
) -> None:
    box, cloud, told = FakeBox(), FakeCloud(), Told()
    async with (
        box.serving(),
        cloud.serving(),
        a_till(tmp_path, told, FakeClock(), box=box, cloud=cloud) as till,
    ):
        cloud.silent = True
        box._mode = type(box._mode)("local", "offline", "no-dns", "later")  # known to the box, not yet told
        await till.selling.sell(a_basket())

        change = told.of(ModeChanged)[-1]
        assert (change.old, change.new, change.cause, change.by) == ("cloud", "local", "no-dns", "box")
        assert told.index(change) > told.index(told.of(Sold)[0])
        second = await till.selling.sell(a_basket())
        assert isinstance(second, Sold)
        assert (second.way, second.mode) == ("box", "local")
        assert cloud.sales == {}


async def test_a_proposal_is_taken_between_two_tickets_and_never_within_one(tmp_path: Path) -> None:
    box, cloud, told = FakeBox(), FakeCloud(), Told()
    async with (
        box.serving(),
        cloud.serving(),
        a_till(tmp_path, told, FakeClock(), box=box, cloud=cloud) as till,
    ):
        await until(lambda: box.listeners)
        cloud.silent = True
        selling = asyncio.create_task(till.selling.sell(a_basket()))
        await until(lambda: till.selling.in_hand)
        box.propose("local", "no-answer")
        await told.wait(Proposal, 2)
        assert till.ways.mode == "cloud"

        sold = await selling

        assert isinstance(sold, Sold)
        assert sold.mode == "cloud"
        change = told.of(ModeChanged)[0]
        assert (change.new, change.by) == ("local", "box")
        assert told.index(change) > told.index(sold)


async def test_a_proposal_is_taken_at_once_when_no_ticket_is_in_hand(tmp_path: Path) -> None:
    box, cloud, told = FakeBox(), FakeCloud(), Told()
    async with box.serving(), cloud.serving(), a_till(tmp_path, told, FakeClock(), box=box, cloud=cloud):
        await until(lambda: box.listeners)
        box.propose("local", "captive-portal")
        change = await told.wait(ModeChanged)
        assert (change.new, change.cause, change.by) == ("local", "captive-portal", "box")

        box.propose("cloud", "ok")
        change = await told.wait(ModeChanged, 2)
        assert (change.new, change.cause, change.by) == ("cloud", "ok", "box")


@pytest.mark.parametrize("portal", [a_sign_in_page, a_proxys_error, another_answer])
async def test_whatever_stands_between_neither_accepts_nor_refuses_a_sale(
    tmp_path: Path, portal: Callable[[], web.Response]
) -> None:
    box, cloud, told = FakeBox(), FakeCloud(), Told()
    cloud.portal = portal
    async with (
        box.serving(),
        cloud.serving(),
        a_till(tmp_path, told, FakeClock(), box=box, cloud=cloud) as till,
    ):
        sold = await till.selling.sell(a_basket())

    assert isinstance(sold, Sold)
    assert (sold.status, sold.way) == ("accepted", "box")
    assert told.of(ModeChanged)[0].cause == "captive-portal"


async def test_a_till_that_left_the_cloud_by_itself_tries_it_again_when_the_hold_is_over(
    tmp_path: Path,
) -> None:
    box, cloud, told, clock = FakeBox(), FakeCloud(), Told(), FakeClock()
    async with box.serving(), cloud.serving(), a_till(tmp_path, told, clock, box=box, cloud=cloud) as till:
        cloud.failing = NotReady()
        await till.selling.sell(a_basket())
        assert (till.ways.mode, told.of(ModeChanged)[-1].by) == ("local", "till")
        cloud.failing = None

        await clock.advance(HOLD_S)
        sold = await till.selling.sell(a_basket())

    assert isinstance(sold, Sold)
    assert (sold.way, sold.mode) == ("cloud", "cloud")


async def test_a_proposal_is_told_once_however_often_it_is_heard(tmp_path: Path) -> None:
    box, told = FakeBox(), Told()
    async with box.serving(), a_till(tmp_path, told, FakeClock(), box=box) as till:
        await until(lambda: box.listeners)
        till.ways.proposed(box._mode)
        box.propose("local", "no-answer")
        await until(lambda: told.of(Proposal)[-1].mode == "local")

    assert [line.mode for line in told.of(Proposal)] == ["cloud", "local"]


async def test_the_box_being_dead_in_local_mode_sends_the_till_back_to_a_cloud_that_answers(
    tmp_path: Path,
) -> None:
    box, cloud, told = FakeBox(), FakeCloud(), Told()
    async with cloud.serving():
        async with box.serving():
            box.propose("local", "no-answer")
            async with a_till(tmp_path, told, FakeClock(), box=box, cloud=cloud) as till:
                assert till.ways.mode == "local"
        async with a_till(tmp_path, told, FakeClock(), box=box, cloud=cloud) as till:
            till.ways.proposed(box._mode)
            sold = await till.selling.sell(a_basket())
            assert isinstance(sold, Sold)
            assert sold.status == "pending", (
                "the customer does not wait for a cloud that is known to be silent"
            )

            delivered = await told.wait(Delivered)
            assert (delivered.sale_id, delivered.status, delivered.way) == (sold.sale_id, "synced", "cloud")
            assert told.of(ModeChanged)[-1].cause == "box-silent"
            sold = await till.selling.sell(a_basket())
            assert isinstance(sold, Sold)
            assert (sold.way, sold.mode) == ("cloud", "cloud")

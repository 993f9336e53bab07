"""Selling two ways: the cloud while it answers, the box at once when it does not, and the way back."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import web

from appliance.domain.errors import DiskFull, InvalidSale, NotFound, NotReady, StorageFault, StoreboxError
from appliance.domain.event import GENESIS, Position
from appliance.domain.flags import flags
from appliance.domain.sale import parse_sale
from appliance.domain.wire import SyncedView
from tests.fakes.clock import FakeClock
from tests.fakes.tasks import until
from tests.fakes.till_peers import FakeBox, FakeCloud, a_proxys_error, a_sign_in_page, another_answer
from tests.fakes.tills import Told, a_basket, a_credit_note, a_till
from till.modes import HOLD_S
from till.report import (
    Conflict,
    Delivered,
    Disconnected,
    Lost,
    ModeChanged,
    Proposal,
    RefusedLine,
    RolledBack,
    Sold,
    Synced,
    Untrusted,
)
from till.settling import BACK_OFF_CAP_S


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


async def test_a_kept_connection_that_the_box_just_closed_costs_nothing(tmp_path: Path) -> None:
    box, told = FakeBox(), Told()
    async with box.serving(), a_till(tmp_path, told, FakeClock(), box=box) as till:
        box.hang_ups = 1
        sold = await till.selling.sell(a_basket())

    assert isinstance(sold, Sold)
    assert sold.status == "accepted"


async def test_a_box_that_answers_no_sales_is_looked_for_again_though_its_stream_is_open(
    tmp_path: Path,
) -> None:
    box, told, clock = FakeBox(), Told(), FakeClock()
    async with box.serving(), a_till(tmp_path, told, clock, box=box) as till:
        await until(lambda: box.listeners)
        box.hang_ups = 2
        sold = await till.selling.sell(a_basket())
        assert isinstance(sold, Sold)
        assert sold.status == "pending"

        assert (await told.wait(Disconnected)).reason == "a request got no answer"
        assert (await told.wait(Delivered)).sale_id == sold.sale_id


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


async def test_a_restarted_box_is_found_again_and_its_news_are_heard(tmp_path: Path) -> None:
    box, told, clock = FakeBox(), Told(), FakeClock()
    async with AsyncExitStack() as stack:
        async with box.serving() as port:
            till = await stack.enter_async_context(a_till(tmp_path, told, clock, box=box))
            await until(lambda: box.listeners)
        await told.wait(Disconnected)
        sold = await till.selling.sell(a_basket())
        assert isinstance(sold, Sold)
        assert sold.status == "pending"

        await stack.enter_async_context(box.serving(port))
        await clock.run_until(lambda: box.listeners)
        await told.wait(Delivered)
        box.sync()
        synced = await told.wait(Synced)

    assert synced.sale_id == sold.sale_id
    assert len(box.posted) == 1


async def test_another_key_in_the_name_of_our_box_is_loud_and_gets_nothing(tmp_path: Path) -> None:
    ours, other, told, clock = FakeBox(seed=1), FakeBox(seed=2), Told(), FakeClock()
    async with ours.serving() as port, a_till(tmp_path, told, clock, box=ours) as till:
        await till.selling.sell(a_basket())
    async with other.serving(port), a_till(tmp_path, told, clock, box=other) as till:
        await till.selling.sell(a_basket())

    assert "remove" in told.of(Untrusted)[0].reason
    assert other.posted == []
    assert other.tokens_seen == set(), "it does not even see our token"


async def test_an_ack_that_the_pinned_key_did_not_sign_is_no_ack(tmp_path: Path) -> None:
    ours, other, told, clock = FakeBox(seed=1), FakeBox(seed=2), Told(), FakeClock()
    async with ours.serving(), a_till(tmp_path, told, clock, box=ours) as till:
        ours.signer = other.signer
        sold = await till.selling.sell(a_basket())

    assert isinstance(sold, Sold)
    assert sold.status == "pending"


async def test_a_token_that_the_box_does_not_know_is_told_and_loses_nothing(tmp_path: Path) -> None:
    box, told, clock = FakeBox(), Told(), FakeClock()
    async with box.serving(), a_till(tmp_path, told, clock, box=box, box_token="wrong") as till:
        sold = await till.selling.sell(a_basket())

    assert isinstance(sold, Sold)
    assert sold.status == "pending"
    assert "unauthenticated" in told.of(Untrusted)[0].reason

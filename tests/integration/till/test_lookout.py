"""The till looks for its box again when it went, and trusts no other in its name."""

from contextlib import AsyncExitStack
from pathlib import Path

from tests.fakes.clock import FakeClock
from tests.fakes.tasks import until
from tests.fakes.till_box import FakeBox
from tests.fakes.tills import Told, a_basket, a_till
from till.report import Delivered, Disconnected, Sold, Synced, Untrusted


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

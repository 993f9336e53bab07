"""A card that was put back or cloned is found, named, and repaired without losing or doubling a sale."""

import asyncio

import pytest

from appliance.domain.errors import ConfigError
from appliance.domain.identity import box_id
from appliance.gateways.identity import Identity
from appliance.places import files_in
from appliance.services.verification import verify_journal
from appliance.stopped import new_epoch
from tests.fakes.sales import a_sale, a_sale_json
from tests.fakes.tills import a_basket
from tests.integration.api.conftest import Shop
from tests.integration.rollback.conftest import Card, status_of
from till.report import Lost, Sold
from till.wiring import OpenTill

REASON = "the card was put back from a backup"


async def sell(till: OpenTill, count: int) -> set[str]:
    lines = [await till.selling.sell(a_basket()) for _ in range(count)]
    return {line.sale_id for line in lines if isinstance(line, Sold)}


async def everything_booked(shop: Shop, till: OpenTill) -> None:
    """Let time pass until the till knows that the cloud holds all its sales."""
    synced = asyncio.create_task(till.settling.all_synced())
    await shop._pass_until(lambda _: synced.done())


async def test_a_whole_card_put_back_is_named_at_its_first_exchange_and_a_new_epoch_brings_all_of_it(
    card: Card,
) -> None:
    async with card.trading() as (shop, till, _):
        sold = await sell(till, 3)
        await everything_booked(shop, till)
    earlier = await card.snapshot()
    async with card.trading() as (shop, till, _):
        sold |= await sell(till, 4)
        await shop.drained()
    async with card.running() as shop:  # ... nobody tells the till that its last sales are in the cloud
        pass
    await card.restore(earlier)

    async with card.trading() as (shop, till, _):
        sold |= await sell(till, 2)
        await shop._pass_until(lambda status: bool(status.issues))
        status = await status_of(shop)
        # The till, which knows more than the card, and head office both name it: whichever is first.
        assert status.issues[0] == "rolled-back"
        assert status.issues[1:] in (["drain-stopped-fork"], ["drain-stopped-rolled-back"])
        assert (status.state, status.journal.epoch) == ("fork", 1)
        sold |= await sell(till, 1)

    before, now = await new_epoch(card.config, card.clock, REASON)
    assert (before.epoch, now.epoch, now.seq) == (1, 2, 1)

    async with card.trading() as (shop, till, _):
        sold |= await sell(till, 2)
        await everything_booked(shop, till)
        await shop.drained()
        assert (await status_of(shop)).issues == []  # what was left of epoch 1 is in head office another way
    booked = await card.booked()
    assert sorted(row.sale_id for row in booked) == sorted(sold)
    assert len(booked) == 12
    signer = (await asyncio.to_thread(Identity, card.config.state)).signer
    finding = await asyncio.to_thread(
        verify_journal,
        files_in(card.config).journal,
        box_id(signer.public_key),
        {signer.key_id: signer.public_key},
        lambda _: None,
    )
    assert (finding.fault, finding.epochs) == (None, 2)


async def test_a_journal_put_back_beside_its_head_file_is_named_without_any_line(card: Card) -> None:
    async with card.trading(line=False) as (_, till, _):
        sold = await sell(till, 2)
    earlier = await card.snapshot()
    async with card.trading(line=False) as (_, till, _):
        sold |= await sell(till, 5)
    await card.restore(earlier, but="head")

    for start in range(2):  # it is not forgotten by starting again
        async with card.trading(line=False) as (shop, till, told):
            status = await status_of(shop)
            assert status.issues == ["rolled-back", "drain-stopped-rolled-back"]
            assert status.journal.epoch == 1
            sold |= await sell(till, 1)
            if start == 0:
                await told.wait(Lost, 5)  # the till noticed, and brings them again
    async with card.running() as shop:
        await shop._pass_until(lambda status: status.mode.link == "online")
        assert await card.booked() == []  # nothing goes on in the old epoch

    before, now = await new_epoch(card.config, card.clock, REASON)
    assert (before.epoch, now.epoch) == (1, 2)

    async with card.trading() as (shop, till, _):
        await everything_booked(shop, till)
        await shop.drained()
        assert (await status_of(shop)).issues == []  # the old epoch fits: the cloud had nothing of it
    booked = await card.booked()
    assert sorted(row.sale_id for row in booked) == sorted(sold)
    assert {row.copies for row in booked} == {0}


async def test_a_clone_that_sells_beside_the_first_card_is_named(card: Card) -> None:
    async with card.running() as shop:
        await shop.drained()
    clone = await card.snapshot()
    async with card.running() as shop:
        assert (await shop.sell(a_sale_json())).status == 201
        await shop.drained()
    await card.restore(clone)

    async with card.running() as shop:
        await shop._pass_until(lambda status: "rolled-back" in status.issues)
        for _ in range(600):  # head office hears it with the next heartbeat
            await card.clock.advance(0.5)
            [seen] = (await card.office.read("/v1/fleet")).json()
            if seen["verdict"] == {"grade": "unhealthy", "reason": "rolled-back"}:
                return
    raise AssertionError("head office was not told")


async def test_a_sound_card_is_never_called_rolled_back(card: Card) -> None:
    for _ in range(3):
        async with card.running(line=False) as shop:
            assert (await shop.sell(a_sale_json())).status == 201
            assert (await status_of(shop)).issues == []


async def test_a_damaged_head_file_is_no_witness(card: Card) -> None:
    async with card.running(line=False):
        pass
    (card.config.state / "head").write_bytes(b"\x00garbage")

    async with card.running(line=False) as shop:
        assert (await status_of(shop)).issues == []


async def test_a_carried_sale_gets_one_ack_from_then_on(card: Card) -> None:
    sale = a_sale()
    async with card.running() as shop:
        await shop.drained()
    earlier = await card.snapshot()
    async with card.running() as shop:
        await shop.drained()
    await card.restore(earlier)
    async with card.running(line=False) as shop:
        first = (await shop.sell(sale.encode())).json()
    await new_epoch(card.config, card.clock, REASON)

    async with card.running() as shop:
        await shop.drained()
        again = (await shop.sell(sale.encode())).json()
        assert (first["epoch"], again["epoch"]) == (1, 2)
    async with card.running() as shop:
        await shop.drained()
        assert (await status_of(shop)).issues == []
        assert (await shop.sell(sale.encode())).json() == again
    assert [(row.sale_id, row.copies) for row in await card.booked()] == [(sale.sale_id, 0)]


async def test_no_epoch_is_opened_beside_a_running_box(card: Card) -> None:
    async with card.running(line=False):
        with pytest.raises(ConfigError, match="another process"):
            await new_epoch(card.config, card.clock, REASON)

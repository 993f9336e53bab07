"""A till's witness: a box whose whole card was put back, unseen by head office, hears of it from its tills."""

import asyncio

import msgspec

from appliance.domain.event import GENESIS
from appliance.domain.statements import HEAD_TYPE, Head, sign
from appliance.domain.wire import WitnessAnswer
from appliance.gateways.identity import Identity
from appliance.places import files_in
from appliance.runtime.database import open_reader
from appliance.stopped import new_epoch
from appliance.storage import journal_tables as tables
from tests.fakes.journals import SIGNER
from tests.integration.api.conftest import Answer, Shop
from tests.integration.rollback.conftest import Card, status_of
from tests.integration.rollback.test_rolled_back import REASON, everything_booked, sell
from till.report import RolledBack

NAMED = ["rolled-back", "drain-stopped-rolled-back"]


async def show(shop: Shop, envelope: bytes) -> Answer:
    return await shop.ask("POST", "/v1/witness", data=envelope, headers={"Content-Type": "application/json"})


async def head_beyond(card: Card, seq: int) -> bytes:
    """A head that this box might have signed on a card that is gone."""
    identity = await asyncio.to_thread(Identity, card.config.state)
    return sign(identity.signer, HEAD_TYPE, Head(identity.box, 1, seq, GENESIS.hex()))


def kinds(card: Card) -> list[str]:
    reader = open_reader(files_in(card.config).journal)
    try:
        return [msgspec.json.decode(row.body)["kind"] for row in tables.events(reader, 0)]
    finally:
        reader.close()


async def test_a_whole_card_put_back_that_head_office_never_saw_is_named_by_a_till_and_mended(
    card: Card,
) -> None:
    async with card.trading(line=False) as (_, till, _):
        sold = await sell(till, 2)
    earlier = await card.snapshot()
    async with card.trading(line=False) as (_, till, _):
        sold |= await sell(till, 5)
    await card.restore(earlier)  # with its head file: nothing on the card tells

    async with card.trading(line=False) as (shop, till, told):
        await told.wait(RolledBack)
        status = await status_of(shop)
        assert (status.state, status.issues) == ("fork", NAMED)
        sold |= await sell(till, 1)  # the shop sells on
    async with card.running() as shop:  # ... and no till is needed to find it again
        await shop._pass_until(lambda status: status.mode.link == "online")
        assert (await status_of(shop)).issues == NAMED
        assert await card.booked() == []  # nothing goes on in the old epoch

    before, now = await new_epoch(card.config, card.clock, REASON)
    assert (before.epoch, now.epoch) == (1, 2)

    async with card.trading() as (shop, till, told):
        await everything_booked(shop, till)
        await shop.drained()
        assert (await status_of(shop)).issues == []
        assert not told.of(RolledBack)
    booked = await card.booked()
    assert sorted(row.sale_id for row in booked) == sorted(sold)
    assert {row.copies for row in booked} == {0}


async def test_head_office_hears_of_it(card: Card) -> None:
    async with card.running() as shop:
        await shop.drained()
        assert (await show(shop, await head_beyond(card, 1_000))).status == 200

        for _ in range(600):  # with the next heartbeat
            await card.clock.advance(0.5)
            [seen] = (await card.office.read("/v1/fleet")).json()
            if seen["verdict"] == {"grade": "unhealthy", "reason": "rolled-back"}:
                return
    raise AssertionError("head office was not told")


async def test_a_head_that_the_journal_holds_changes_nothing(card: Card) -> None:
    async with card.trading(line=False) as (shop, till, _):
        await sell(till, 1)
        before = (await status_of(shop)).journal
        head = await till.copies.witness((await status_of(shop)).box)
        assert head is not None

        answer = msgspec.json.decode((await show(shop, head)).body, type=WitnessAnswer)

        after = await status_of(shop)
        assert answer == WitnessAnswer(False, before.epoch, before.seq, before.head)
        assert (after.journal.seq, after.issues) == (before.seq, [])


async def test_showing_it_again_writes_nothing_more(card: Card) -> None:
    async with card.running(line=False) as shop:
        for seq in (1_000, 1_000, 900, 1_001, 1_001):
            answer = msgspec.json.decode((await show(shop, await head_beyond(card, seq))).body)
            assert answer["rolled_back"] is True
        assert (await status_of(shop)).issues == NAMED

    assert (await asyncio.to_thread(kinds, card)).count("rollback_found") == 1
    _, now = await new_epoch(card.config, card.clock, REASON)
    assert now.epoch == 2


async def test_a_head_of_an_epoch_above_the_journal_s_own_is_never_used_again(card: Card) -> None:
    async with card.running(line=False) as shop:
        identity = await asyncio.to_thread(Identity, card.config.state)
        head = sign(identity.signer, HEAD_TYPE, Head(identity.box, 7, 3, GENESIS.hex()))
        assert (await show(shop, head)).json()["rolled_back"] is True

    _, now = await new_epoch(card.config, card.clock, REASON)
    assert now.epoch == 8


async def test_a_head_that_this_box_did_not_sign_is_refused(card: Card) -> None:
    async with card.running(line=False) as shop:
        forged = sign(SIGNER, HEAD_TYPE, Head((await status_of(shop)).box, 1, 1_000, GENESIS.hex()))

        refused = await show(shop, forged)

        assert (refused.status, refused.problem) == (403, "bad-signature")
        assert (await show(shop, b"no envelope")).problem == "bad-signature"
        assert (await show(shop, b"{" * 100_000)).status == 413
        assert (await shop.session.post(f"{shop.url}/v1/witness", data=b"{}")).status == 401
        assert (await status_of(shop)).issues == []

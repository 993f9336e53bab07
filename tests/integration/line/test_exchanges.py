"""Every fault of the line, in the middle of every kind of exchange: it is done once, as it was asked."""

import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from demo.faults import CutShort, Drip, Duplicate, Fault, Flip, Jitter, Refuse, Reset, Swallow
from tests.fakes.tasks import until
from tests.integration.line.conftest import Shop, a_shop

Exchange = Callable[[Shop], Awaitable[None]]
EXCHANGES: dict[str, Exchange] = {
    "batch": Shop.batch,
    "probe": Shop.probe,
    "catalogue": Shop.catalogue,
    "operation": Shop.operation,
    "sale": Shop.sale,
    "heartbeat": Shop.heartbeat,
}
# Positions: 0 is before the first byte; 40 lies in the first lines of the headers, 190 near their end or behind it.
FAULTS: dict[str, Fault] = {
    "lost-answer": Swallow("down"),
    "lost-in-answers-headers": Swallow("down", 40),
    "lost-in-answers-body": Swallow("down", 190),
    "lost-question": Swallow("up"),
    "lost-in-question": Swallow("up", 190),
    "reset-before-answer": Reset("down"),
    "reset-in-answers-headers": Reset("down", 40),
    "reset-in-answers-body": Reset("down", 190),
    "reset-in-question": Reset("up", 190),
    "answer-cut-short-in-headers": CutShort("down", 40),
    "answer-cut-short-in-body": CutShort("down", 190),
    "question-cut-short": CutShort("up", 190),
    "answer-stalls-in-headers": Drip("down", 0.01, 40),
    "answer-stalls-in-body": Drip("down", 0.01, 190),
    "question-stalls": Drip("up", 0.01, 100),
    "answer-drips": Drip("down", 20_000.0),
    "refused": Refuse(),
    "delivered-twice-at-once": Duplicate(),
    "delivered-twice-later": Duplicate(0.02),
    "jitter": Jitter(0.005),
}
# What lies on the line and is no single blow.
LASTING = (Jitter,)
FLIPS_EACH = 16


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_a_fault_in_the_middle_of_an_exchange_loses_doubles_and_alters_nothing(
    shop: Shop, fault: Fault
) -> None:
    for exchange in EXCHANGES.values():
        if not isinstance(fault, Refuse):
            await exchange(shop)  # from here on a connection is kept open: the fault meets it there
        strikes = shop.line.counters.strikes
        shop.line.inflict(fault, None if isinstance(fault, LASTING) else 1)

        await exchange(shop)

        if not isinstance(fault, Refuse | Jitter):
            assert shop.line.counters.strikes == strikes + 1, exchange
        await shop.line.mend()

    await shop.check()
    for exchange in EXCHANGES.values():
        await exchange(shop)
    await shop.check()


async def test_whoever_is_refused_comes_again(shop: Shop) -> None:
    shop.line.inflict(Refuse(), 5)

    for exchange in EXCHANGES.values():
        await exchange(shop)

    assert shop.line.counters.strikes == 5
    await shop.check()


@pytest.mark.parametrize("name", ["batch", "operation", "sale"])
async def test_what_is_delivered_twice_is_there_once(shop: Shop, name: str) -> None:
    await EXCHANGES[name](shop)
    unread = shop.line.counters.bytes_unread
    shop.line.inflict(Duplicate(0.03), 1)  # long enough that the first delivery is answered

    await EXCHANGES[name](shop)
    await until(lambda: shop.line.counters.bytes_unread > unread)

    await shop.check()


async def test_a_lost_answer_leaves_the_sale_in_the_cloud_and_the_second_try_finds_it(shop: Shop) -> None:
    await shop.sale()
    shop.line.inflict(Swallow("down"), 1)

    await shop.sale()

    rows = (await shop.office.read("/v1/sales")).lines()
    assert sorted(row["copies"] for row in rows) == [0, 1]
    await shop.check()


@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("name", EXCHANGES)
async def test_a_bit_flipped_anywhere_on_the_way_is_noticed(tmp_path: Path, name: str, way: str) -> None:
    rng = random.Random(f"{name} {way}")
    async with a_shop(tmp_path, rng) as shop:
        await EXCHANGES[name](shop)
        size = await _size(shop, name, way)
        for _ in range(FLIPS_EACH):
            strikes = shop.line.counters.strikes
            shop.line.inflict(Flip("up" if way == "up" else "down", rng.randrange(size * 8)), 1)

            await EXCHANGES[name](shop)
            await shop.line.mend()

            assert strikes <= shop.line.counters.strikes <= strikes + 1
        assert shop.line.counters.strikes > FLIPS_EACH * 0.8

        await shop.check()


async def _size(shop: Shop, name: str, way: str) -> int:
    """How many bytes an exchange carries one way: the least of three, since on a busy machine one may be repeated."""
    sizes = []
    for _ in range(3):
        before = shop.line.counters
        await EXCHANGES[name](shop)
        after = shop.line.counters
        sizes.append(
            after.bytes_up - before.bytes_up if way == "up" else after.bytes_down - before.bytes_down
        )
    return min(sizes)

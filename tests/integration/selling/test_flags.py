"""What does not add up with the till's other tickets: accepted, flagged in the chain, counted."""

import asyncio
import random
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from appliance.domain.errors import DiskFull
from appliance.domain.sale import Sale, Tender
from appliance.domain.wire import Ack
from appliance.runtime.clock import rfc3339
from appliance.runtime.database import open_reader
from appliance.storage import journal_tables as tables
from appliance.storage.ticket_book import WRITE_EVERY_EVENTS
from tests.fakes.clock import OPENING
from tests.fakes.journals import a_note
from tests.fakes.sales import a_line, a_sale
from tests.integration.selling.shop import Shop, a_shop

# --- the natural key


async def test_a_second_sale_of_one_ticket_number_is_accepted_and_flagged_and_never_merged(
    tmp_path: Path,
) -> None:
    async with a_shop(tmp_path) as shop:
        assert await shop.sell(1) == []
        assert await shop.sell(1) == ["ticket-number-reused"]
        assert await shop.sell(1, business_date="2026-11-23") == []

        assert shop.flags_in_the_chain() == [[], ["ticket-number-reused"], []]
        assert (shop.selling.counts.accepted, shop.selling.counts.flagged) == (3, 1)
        assert shop.selling.counts.by_flag == {"ticket-number-reused": 1}


async def test_a_till_does_not_use_up_the_numbers_of_another(tmp_path: Path) -> None:
    async with a_shop(tmp_path) as shop:
        await shop.sell(1)

        ack, _ = await shop.selling.accept(a_sale(till_id="till-2"), "till-2")
        assert ack.flags == []


async def test_a_replay_is_no_reuse_and_a_flagged_sale_replays_byte_for_byte(tmp_path: Path) -> None:
    first, second = a_sale(), a_sale()
    async with a_shop(tmp_path) as shop:
        plain, _ = await shop.selling.accept(first, "till-1")
        flagged, _ = await shop.selling.accept(second, "till-1")
        counted = shop.selling.counts.by_flag.copy()
        await shop.selling.accept(first, "till-1")
        await shop.selling.accept(second, "till-1")
        assert shop.selling.counts.by_flag == counted
    async with a_shop(tmp_path) as shop:
        again, known = await shop.selling.accept(second, "till-1")

        assert known
        assert (plain.flags, flagged.flags) == ([], ["ticket-number-reused"])
        assert msgspec.json.encode(again) == msgspec.json.encode(flagged)
        assert not shop.selling.counts.by_flag


@pytest.mark.parametrize("between", [0, WRITE_EVERY_EVENTS + 1])
async def test_a_restart_forgets_no_number(tmp_path: Path, between: int) -> None:
    async with a_shop(tmp_path) as shop:
        await shop.sell(1)
        await asyncio.gather(*(shop.journal.append(a_note(number)) for number in range(between)))
        await shop.sell(2)
        assert (shop.written_through() > 0) is (between > 0)
    async with a_shop(tmp_path) as shop:
        assert await shop.sell(1) == ["ticket-number-reused"]
        assert await shop.sell(2) == ["ticket-number-reused"]
        assert await shop.sell(4) == ["ticket-gap"]


# --- many at once


async def test_of_sales_that_share_a_group_each_is_judged_behind_the_one_before(tmp_path: Path) -> None:
    numbers = [1, 2, 2, 3, 5, 4, 5, 6]
    async with a_shop(tmp_path) as shop:
        found = await asyncio.gather(*(shop.sell(number) for number in numbers))

        assert found == [
            [],
            [],
            ["ticket-number-reused"],
            [],
            ["ticket-gap"],
            [],
            ["ticket-number-reused"],
            [],
        ]
        assert shop.flags_in_the_chain() == found
        assert len(list(_heads(shop))) < len(numbers)  # they did share one


async def test_of_many_sales_under_one_number_all_but_one_are_flagged(tmp_path: Path) -> None:
    async with a_shop(tmp_path) as shop:
        found = await asyncio.gather(*(shop.sell(7) for _ in range(300)))

        assert sorted(found) == [[], *[["ticket-number-reused"]] * 299]
        assert shop.selling.counts.by_flag == {"ticket-number-reused": 299}


def _heads(shop: Shop) -> list[tuple[int, bytes]]:
    reader = open_reader(shop.folder / "journal.db")
    try:
        return list(tables.heads(reader, 0))
    finally:
        reader.close()


@pytest.mark.parametrize("seed", range(4))
async def test_restarts_and_groups_change_no_judgement(tmp_path: Path, seed: int) -> None:
    def a_day() -> list[Sale]:
        rng = random.Random(seed)
        numbers = {"till-1": 0, "till-2": 0}
        day = []
        for _ in range(700):
            till_id = rng.choice(list(numbers))
            numbers[till_id] = max(1, numbers[till_id] + rng.choice([1] * 20 + [0, 2, -3]))
            date = "2026-11-22" if rng.random() < 0.9 else "2026-11-23"
            day.append(a_sale(till_id=till_id, ticket_number=numbers[till_id], business_date=date))
        return day

    async def flags_of(folder: Path, sittings: int, together: int) -> list[list[str]]:
        day, found = a_day(), list[Ack]()
        per_sitting = len(day) // sittings
        for begin in range(0, len(day), per_sitting):
            async with a_shop(folder) as shop:
                for first in range(begin, begin + per_sitting, together):
                    group = day[first : min(first + together, begin + per_sitting)]
                    answers = (shop.selling.accept(sale, sale.till_id) for sale in group)
                    found += [ack for ack, _ in await asyncio.gather(*answers)]
        return [ack.flags for ack in found]

    for name in ("one", "many"):
        (tmp_path / name).mkdir()
    in_one_go = await flags_of(tmp_path / "one", 1, 100)

    assert await flags_of(tmp_path / "many", 7, 9) == in_one_go
    assert {flag for flags in in_one_go for flag in flags} == {"ticket-number-reused", "ticket-gap"}


async def test_a_sale_that_the_disk_refused_has_used_no_number(tmp_path: Path) -> None:
    async with a_shop(tmp_path) as shop:
        await shop.sell(1)
        pages = "PRAGMA max_page_count={}".format
        noise = random.Random(1)  # what repeats is packed to nothing
        many = [a_line(name=noise.randbytes(100).hex()) for _ in range(500)]
        await shop.journal._writer.transaction(lambda c: c.execute(pages(1)).fetchone())
        with pytest.raises(DiskFull):
            await shop.sell(2, lines=many)
        await shop.journal._writer.transaction(lambda c: c.execute(pages(100_000)).fetchone())

        assert await shop.sell(2) == []
        assert await shop.sell(1) == ["ticket-number-reused"]


async def test_an_event_that_cannot_be_read_tells_nothing_and_stops_nothing(tmp_path: Path) -> None:
    async with a_shop(tmp_path) as shop:
        await shop.sell(1)
        await shop.journal.record("mode_changed", "of a later form")
        await shop.journal.record("sale", {"sale": {"of": "a later form"}})
    async with a_shop(tmp_path) as shop:
        assert await shop.sell(3) == ["ticket-gap"]


# --- gaps and clocks


async def test_a_gap_is_not_judged_while_tills_may_sell_straight_to_head_office(tmp_path: Path) -> None:
    async with a_shop(tmp_path) as shop:
        await shop.sell(1)
        await shop.journal.record("mode_changed", {"mode": "cloud"})
        assert await shop.sell(5, mode="cloud") == []
    async with a_shop(tmp_path) as shop:
        assert await shop.sell(9, mode="cloud") == []
        assert await shop.sell(11) == []
        await shop.journal.record("started", {})
        assert await shop.sell(15, mode="cloud") == []
        assert await shop.sell(17) == ["ticket-gap"]
        await shop.journal.record("mode_changed", {"mode": "cloud"})
        await shop.journal.record("mode_changed", {"mode": "local"})
        assert await shop.sell(20) == []
        assert await shop.sell(22) == ["ticket-gap"]


async def test_a_till_whose_clock_went_back_is_flagged(tmp_path: Path) -> None:
    async with a_shop(tmp_path) as shop:
        await shop.sell(1)
        hour_before = rfc3339(OPENING - timedelta(hours=1))

        assert await shop.sell(2, started_at=hour_before, ended_at=hour_before) == ["clock-back"]
        assert await shop.sell(3, started_at=hour_before, ended_at=hour_before) == []


async def test_flags_of_all_sources_stand_in_one_order_and_each_once(tmp_path: Path) -> None:
    early = rfc3339(OPENING - timedelta(hours=1))
    async with a_shop(tmp_path) as shop:
        await shop.catalogue(3, 100)
        await shop.sell(1)

        found = await shop.sell(3, tenders=[Tender("cash", 1)], ended_at=early, catalogue_version=3)
        assert found == ["total-tenders", "unknown-article", "clock-back", "ticket-gap"]

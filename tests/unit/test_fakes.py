"""The fakes keep the promises that other tests lean on."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import aiosqlite
import msgspec
import pytest

from appliance.domain.flags import flags
from appliance.domain.sale import Sale, parse_sale
from appliance.runtime.clock import Clock
from appliance.runtime.database import open_writer
from tests.fakes.clock import OPENING, FakeClock
from tests.fakes.sales import a_line, a_sale, a_sale_id, a_sale_json, a_trading_day
from tests.fakes.tasks import until


async def test_sleepers_wake_in_the_order_of_their_due_times_and_what_they_start_runs_in_between() -> None:
    clock: Clock = (fake := FakeClock())
    seen: list[tuple[str, float]] = []

    async def nap(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        await asyncio.sleep(0)  # the loop turns before the next one wakes
        seen.append((name, clock.monotonic()))

    async def nap_twice() -> None:
        await nap("first", 1)
        await nap("again", 1.5)

    async with asyncio.TaskGroup() as group:
        group.create_task(nap("last", 3))
        group.create_task(nap("middle", 2))
        group.create_task(nap_twice())
        start_s = clock.monotonic()
        await fake.advance(10)

        assert [(name, at_s - start_s) for name, at_s in seen] == [
            ("first", 1),
            ("middle", 2),
            ("again", 2.5),
            ("last", 3),
        ]
        assert clock.monotonic() - start_s == 10
        assert clock.wall() - OPENING == timedelta(seconds=10)


async def test_nobody_wakes_early_and_a_cancelled_sleeper_is_forgotten() -> None:
    clock = FakeClock()
    early, late = asyncio.create_task(clock.sleep(5)), asyncio.create_task(clock.sleep(6))
    await clock.advance(4.9)

    assert clock.sleeping == 2
    assert clock.next_due_s == pytest.approx(0.1)

    early.cancel()
    await clock.settle()

    assert clock.next_due_s == pytest.approx(1.1)
    await clock.advance(2)
    assert late.done()


async def test_the_wall_jumps_without_waking_anybody() -> None:
    clock = FakeClock()
    nap = asyncio.create_task(clock.sleep(5))
    await clock.settle()
    clock.jump_wall(timedelta(days=-400))
    await clock.settle()

    assert not nap.done()
    assert clock.wall() == OPENING - timedelta(days=400)
    await clock.advance(5)
    assert nap.done()


async def test_time_waits_for_the_disk(tmp_path: Path) -> None:
    clock = FakeClock()
    async with open_writer(tmp_path / "x.db") as writer:
        await writer.transaction(lambda c: c.execute("CREATE TABLE t (x)"))

        async def write_every_second() -> None:
            while True:
                await clock.sleep(1)
                await writer.transaction(lambda c: c.execute("INSERT INTO t VALUES (1)"))

        loop = asyncio.create_task(write_every_second())
        await clock.advance(7.5)
        written = await writer.transaction(lambda c: c.execute("SELECT count(*) FROM t").fetchone()[0])
        loop.cancel()

    assert written == 7


async def test_time_waits_for_a_database_whoever_asks_it_and_however() -> None:
    clock = FakeClock()
    wrote_s: list[float] = []
    # The work comes to an end in a thread, long after the loop has nothing else to do.
    slowly = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT max(i) FROM n"

    @asynccontextmanager
    async def reading() -> AsyncIterator[aiosqlite.Cursor]:
        async with aiosqlite.connect(":memory:") as connection, connection.execute(slowly) as cursor:
            yield cursor

    async def work() -> None:
        async with reading() as cursor:
            await cursor.execute(slowly)
            wrote_s.append(clock.monotonic())

    async with asyncio.TaskGroup() as group:
        before_s = clock.monotonic()
        group.create_task(work())
        await clock.advance(10)
        assert wrote_s == [before_s]


async def test_run_until_passes_just_as_much_time_as_it_takes() -> None:
    clock = FakeClock()
    start_s = clock.monotonic()
    nap = asyncio.create_task(clock.sleep(42))
    await clock.run_until(nap)

    assert clock.monotonic() - start_s == 42
    with pytest.raises(AssertionError, match="nobody sleeps"):
        await clock.run_until(lambda: False)


async def test_a_task_that_spins_is_named() -> None:
    clock = FakeClock()

    async def spin() -> None:
        while True:
            await clock.sleep(0)

    spinning = asyncio.create_task(spin(), name="the spinner")
    with pytest.raises(AssertionError, match="the spinner"):
        await clock.settle()
    spinning.cancel()


async def test_until_sees_what_a_task_brings_and_gives_up_otherwise() -> None:
    brought: list[int] = []
    asyncio.get_running_loop().call_soon(brought.append, 1)
    await until(lambda: brought)

    with pytest.raises(AssertionError, match="did not come true"):
        await until(lambda: len(brought) > 1, within_s=0.01)


def test_a_built_sale_adds_up_and_reads_back_as_it_is() -> None:
    sale = a_sale(lines=[a_line(), a_line(quantity="-0.333"), a_line(voided=True)])

    assert flags(sale) == []
    assert parse_sale(msgspec.json.encode(sale)) == sale


def test_sales_have_ids_of_their_own_that_grow() -> None:
    ids = [a_sale().sale_id for _ in range(50)]

    assert sorted(set(ids)) == ids
    assert a_sale_id(7) == a_sale_id(7)


def test_a_sale_as_json_takes_what_a_till_might_get_wrong() -> None:
    assert isinstance(parse_sale(a_sale_json(ticket_number=7)), Sale)
    body = msgspec.json.decode(a_sale_json(without=["till_id"], total_minor="much"))
    assert "till_id" not in body
    assert body["total_minor"] == "much"


def test_a_trading_day_adds_up_and_its_seed_repeats_it() -> None:
    day = a_trading_day(random.Random(5), 300)

    assert day == a_trading_day(random.Random(5), 300)
    assert len({sale.sale_id for sale in day}) == 300
    assert [flags(parse_sale(sale.encode())) for sale in day] == [[]] * 300
    tickets = [sale.ticket_number for sale in day if sale.till_id == "till-1"]
    assert tickets == list(range(1, len(tickets) + 1))

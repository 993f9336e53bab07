"""The finer faults of a line, on real sockets; what becomes of the bytes stands in tests/unit/test_demo_faults.py."""

import asyncio

import pytest

from demo.faults import CutShort, Drip, Duplicate, Fault, Flip, Jitter, Refuse, Reset, Swallow
from tests.fakes.clock import FakeClock
from tests.fakes.tasks import until
from tests.integration.demo.line_ends import a_desk, connect, connected, is_reset


async def test_a_swallowed_answer_leaves_the_question_to_pass_and_the_shop_to_wait() -> None:
    clock = FakeClock()
    async with a_desk(clock) as (line, office):
        (shop_in, shop_out), (office_in, office_out) = await connected(line, office)
        line.inflict(Swallow("down", 3))

        shop_out.write(b"a sale")
        assert await office_in.readexactly(6) == b"a sale"
        office_out.write(b"stored")
        assert await shop_in.readexactly(3) == b"sto"
        rest = asyncio.create_task(shop_in.read(1))
        await clock.settle()
        assert not rest.done()

        await line.mend()
        with pytest.raises(ConnectionResetError):
            await rest
        shop_out.close()
        office_out.close()


async def test_a_swallowed_question_never_arrives_though_the_other_way_is_open() -> None:
    clock = FakeClock()
    async with a_desk(clock) as (line, office):
        (shop_in, shop_out), (office_in, office_out) = await connected(line, office)
        line.inflict(Swallow("up"))

        shop_out.write(b"a sale")
        question = asyncio.create_task(office_in.read(1))
        office_out.write(b"hello?")
        assert await shop_in.readexactly(6) == b"hello?"
        await clock.settle()

        assert not question.done()
        question.cancel()
        shop_out.close()
        office_out.close()


@pytest.mark.parametrize("way", ["up", "down"])
async def test_a_reset_half_way_reaches_both_ends(way: str) -> None:
    async with a_desk() as (line, office):
        shop, there = await connected(line, office)
        sender, receiver = (shop, there) if way == "up" else (there, shop)
        line.inflict(Reset("up" if way == "up" else "down", 2), 1)

        sender[1].write(b"more than two")

        assert await is_reset(sender[0])
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await receiver[0].readexactly(3)
        assert line.counters.strikes == 1
        for _, writer in (shop, there):
            writer.close()


async def test_an_answer_cut_short_ends_in_good_order() -> None:
    async with a_desk() as (line, office):
        (shop_in, shop_out), (_, office_out) = await connected(line, office)
        line.inflict(CutShort("down", 4), 1)

        office_out.write(b"storedstored")

        assert await shop_in.read() == b"stor"
        shop_out.close()
        office_out.close()


async def test_bytes_drip_one_by_one() -> None:
    clock = FakeClock()
    async with a_desk(clock) as (line, office):
        (shop_in, shop_out), (_, office_out) = await connected(line, office)
        line.inflict(Drip("down", 2.0, 2), 1)

        office_out.write(b"stored")
        assert await shop_in.readexactly(2) == b"st"
        rest = asyncio.create_task(shop_in.readexactly(4))
        await clock.advance(1.9)
        assert not rest.done()
        await clock.advance(0.2)

        assert await rest == b"ored"
        shop_out.close()
        office_out.close()


async def test_what_still_drips_is_reset_when_the_line_is_mended() -> None:
    clock = FakeClock()
    async with a_desk(clock) as (line, office):
        (shop_in, shop_out), (_, office_out) = await connected(line, office)
        line.inflict(Drip("down", 0.001, 1), 1)
        office_out.write(b"stored")
        assert await shop_in.readexactly(1) == b"s"

        await line.mend()

        assert await is_reset(shop_in)
        shop_out.close()
        office_out.close()


async def test_who_is_refused_is_reset_at_once_and_head_office_hears_nothing() -> None:
    async with a_desk() as (line, office):
        line.inflict(Refuse(), 1)

        with pytest.raises(ConnectionResetError):  # often before connect() is through
            await (await connect(line))[0].read(1)
        assert office.arrived.empty()

        (_, shop_out), (_, office_out) = await connected(line, office)
        shop_out.close()
        office_out.close()


async def test_what_is_sent_is_delivered_a_second_time_later_and_its_answer_thrown_away() -> None:
    clock = FakeClock()
    async with a_desk(clock) as (line, office):
        (shop_in, shop_out), (office_in, office_out) = await connected(line, office)
        shop_out.write(b"before;")
        assert await office_in.readexactly(7) == b"before;"
        line.inflict(Duplicate(2.0), 1)

        shop_out.write(b"a sale")
        assert await office_in.readexactly(6) == b"a sale"
        copy_in, copy_out = await office.arrived.get()
        copied = asyncio.create_task(copy_in.readexactly(6))
        await clock.advance(1.9)
        assert not copied.done()
        await clock.advance(0.2)
        assert await copied == b"a sale"
        copy_out.write(b"known")
        await until(lambda: line.counters.bytes_unread == 5)
        office_out.write(b"stored")

        assert await shop_in.readexactly(6) == b"stored"
        for writer in (shop_out, office_out, copy_out):
            writer.close()


async def test_a_cut_takes_the_second_delivery_too() -> None:
    clock = FakeClock()
    async with a_desk(clock) as (line, office):
        (_, shop_out), (office_in, office_out) = await connected(line, office)
        line.inflict(Duplicate(5.0), 1)
        shop_out.write(b"a sale")
        assert await office_in.readexactly(6) == b"a sale"
        copy_in, copy_out = await office.arrived.get()

        line.cut()
        await clock.advance(10.0)

        assert await copy_in.read() == b""
        for writer in (shop_out, office_out, copy_out):
            writer.close()


async def test_jitter_holds_up_for_a_while_and_keeps_the_order() -> None:
    clock = FakeClock()
    async with a_desk(clock) as (line, office):
        (_, shop_out), (office_in, office_out) = await connected(line, office)
        line.inflict(Jitter(1.0))

        for number in range(20):
            shop_out.write(bytes([number]) * 9_000)
            await clock.settle()
        received = asyncio.create_task(office_in.readexactly(180_000))
        await clock.settle()
        assert not received.done()
        await clock.advance(1.0)

        assert await received == b"".join(bytes([number]) * 9_000 for number in range(20))
        shop_out.close()
        office_out.close()


@pytest.mark.parametrize("fault", [Swallow("up"), Reset("up"), CutShort("up"), Flip("up", 0), Refuse()])
async def test_a_mended_line_has_no_faults(fault: Fault) -> None:
    async with a_desk() as (line, office):
        line.inflict(fault)
        await line.mend()

        (_, shop_out), (office_in, office_out) = await connected(line, office)
        shop_out.write(b"a sale")

        assert line.faults == []
        assert await office_in.readexactly(6) == b"a sale"
        shop_out.close()
        office_out.close()


async def test_a_cut_outlasts_the_faults_that_are_taken_away() -> None:
    clock = FakeClock()
    async with a_desk(clock) as (line, office):
        (shop_in, shop_out), _ = await connected(line, office)
        line.inflict(Swallow("down"))
        line.cut()

        await line.relieve()
        read = asyncio.create_task(shop_in.read(1))
        await clock.settle()

        assert line.condition.cut
        assert not read.done()
        await line.mend()
        with pytest.raises(ConnectionResetError):
            await read
        shop_out.close()

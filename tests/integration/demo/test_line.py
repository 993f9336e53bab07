"""The relay between shop and head office, on real sockets: what passes, what a cut does, what is held up."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from demo.faults import CutShort, Drip, Duplicate, Fault, Flip, Jitter, Refuse, Reset, Swallow
from demo.line import Condition, Line, open_line
from tests.fakes.clock import FakeClock
from tests.fakes.tasks import until

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Office:
    """Head office's end: every connection that arrives, in order."""

    def __init__(self) -> None:
        self.arrived: asyncio.Queue[Ends] = asyncio.Queue()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.arrived.put((reader, writer))


@asynccontextmanager
async def a_desk(clock: FakeClock | None = None) -> AsyncIterator[tuple[Line, Office]]:
    office = Office()
    server = await asyncio.start_server(office.take, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        async with open_line((host, port), clock or FakeClock(), random.Random(1)) as line:
            yield line, office
    finally:
        server.close()
        while not office.arrived.empty():
            office.arrived.get_nowait()[1].close()


async def connect(line: Line) -> Ends:
    host, port = line.url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def connected(line: Line, office: Office) -> tuple[Ends, Ends]:
    shop = await connect(line)
    return shop, await office.arrived.get()


async def is_reset(reader: asyncio.StreamReader) -> bool:
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    return True


async def test_bytes_pass_both_ways() -> None:
    async with a_desk() as (line, office):
        (shop_in, shop_out), (office_in, office_out) = await connected(line, office)

        shop_out.write(b"a sale")
        assert await office_in.readexactly(6) == b"a sale"
        office_out.write(b"stored")
        assert await shop_in.readexactly(6) == b"stored"

        shop_out.close()
        office_out.close()


async def test_more_than_any_buffer_holds_passes_unchanged() -> None:
    catalogue = bytes(range(256)) * 16_384  # 4 MiB
    async with a_desk() as (line, office):
        (shop_in, shop_out), (_, office_out) = await connected(line, office)

        office_out.write(catalogue)
        office_out.write_eof()

        assert await shop_in.read() == catalogue
        shop_out.close()
        office_out.close()


async def test_an_end_of_one_way_leaves_the_other_open() -> None:
    async with a_desk() as (line, office):
        (shop_in, shop_out), (office_in, office_out) = await connected(line, office)

        shop_out.write_eof()
        assert await office_in.read() == b""
        office_out.write(b"late answer")
        office_out.close()

        assert await shop_in.read() == b"late answer"
        shop_out.close()


async def test_a_reset_at_one_end_is_a_reset_at_the_other() -> None:
    async with a_desk() as (line, office):
        (shop_in, shop_out), (_, office_out) = await connected(line, office)

        office_out.transport.abort()

        assert await shop_in.read() == b"" or await is_reset(shop_in)
        shop_out.close()


async def test_a_dead_head_office_resets_whoever_connects() -> None:
    async with a_desk() as (_, office):
        closed = await asyncio.start_server(office.take, "127.0.0.1", 0)
        host, port = closed.sockets[0].getsockname()
        closed.close()
        async with open_line((host, port), FakeClock(), random.Random(1)) as dead:
            shop_in, shop_out = await connect(dead)

            assert await is_reset(shop_in)
            shop_out.close()


async def test_nothing_passes_a_cut_line_and_nobody_is_told() -> None:
    clock = FakeClock()
    async with a_desk(clock) as (line, office):
        (shop_in, shop_out), (office_in, office_out) = await connected(line, office)

        line.cut()
        shop_out.write(b"lost upwards")
        office_out.write(b"lost downwards")
        reads = [asyncio.create_task(shop_in.read(1)), asyncio.create_task(office_in.read(1))]
        await clock.settle()

        assert line.condition.cut
        assert not any(read.done() for read in reads)
        for task in reads:
            task.cancel()
        shop_out.close()
        office_out.close()


async def test_who_connects_during_a_cut_gets_no_answer() -> None:
    clock = FakeClock()
    async with a_desk(clock) as (line, office):
        line.cut()

        shop_in, shop_out = await connect(line)
        shop_out.write(b"hello?")
        answer = asyncio.create_task(shop_in.read(1))
        await clock.settle()

        assert not answer.done()
        assert office.arrived.empty()
        answer.cancel()
        shop_out.close()


async def test_mending_resets_who_was_caught() -> None:
    async with a_desk() as (line, office):
        (shop_in, shop_out), (office_in, office_out) = await connected(line, office)
        line.cut()
        late_in, late_out = await connect(line)
        shop_out.write(b"lost")

        await line.mend()

        assert await is_reset(shop_in)
        assert await is_reset(office_in)
        assert await is_reset(late_in)
        for writer in (shop_out, office_out, late_out):
            writer.close()


async def test_what_was_sent_during_a_cut_never_arrives() -> None:
    async with a_desk() as (line, office):
        (_, shop_out), (office_in, office_out) = await connected(line, office)
        shop_out.write(b"before")
        assert await office_in.readexactly(6) == b"before"

        line.cut()
        shop_out.write(b"during")
        await line.mend()

        with pytest.raises(ConnectionResetError):
            await office_in.readexactly(1)
        shop_out.close()
        office_out.close()


async def test_a_mended_line_carries_new_connections() -> None:
    async with a_desk() as (line, office):
        line.cut()
        await line.mend()

        (_, shop_out), (office_in, office_out) = await connected(line, office)
        shop_out.write(b"again")

        assert await office_in.readexactly(5) == b"again"
        assert line.condition == Condition()
        shop_out.close()
        office_out.close()


async def test_latency_holds_up_each_way_once_however_much_is_sent() -> None:
    clock = FakeClock()
    async with a_desk(clock) as (line, office):
        (_, shop_out), (office_in, office_out) = await connected(line, office)
        line.slow(0.5, None)

        shop_out.write(bytes(100_000))
        received = asyncio.create_task(office_in.readexactly(100_000))
        await clock.advance(0.4)
        assert not received.done()
        await clock.advance(0.2)

        assert len(await received) == 100_000
        shop_out.close()
        office_out.close()


async def test_a_slow_line_carries_so_many_bytes_a_second() -> None:
    clock = FakeClock()
    async with a_desk(clock) as (line, office):
        (_, shop_out), (office_in, office_out) = await connected(line, office)
        line.slow(0.0, 10_000.0)

        shop_out.write(bytes(100_000))
        received = asyncio.create_task(office_in.readexactly(100_000))
        await clock.advance(9.0)
        assert not received.done()
        await clock.advance(1.1)

        assert len(await received) == 100_000
        shop_out.close()
        office_out.close()


async def test_a_cut_takes_what_is_still_under_way_on_a_slow_line() -> None:
    clock = FakeClock()
    async with a_desk(clock) as (line, office):
        (_, shop_out), (office_in, office_out) = await connected(line, office)
        line.slow(5.0, None)
        shop_out.write(b"under way")
        await clock.advance(1.0)

        line.cut()
        await clock.advance(10.0)
        await line.mend()

        assert await is_reset(office_in)
        assert line.counters.bytes_up == 0
        shop_out.close()
        office_out.close()


async def test_it_counts_what_it_carried() -> None:
    async with a_desk() as (line, office):
        (shop_in, shop_out), (office_in, office_out) = await connected(line, office)
        shop_out.write(b"12345")
        await office_in.readexactly(5)
        office_out.write(b"123")
        await shop_in.readexactly(3)

        line.cut()
        await line.mend()

        counters = line.counters
        assert (counters.connections, counters.resets) == (1, 1)
        assert (counters.bytes_up, counters.bytes_down) == (5, 3)
        shop_out.close()
        office_out.close()


async def test_closing_the_line_resets_whoever_is_still_on_it() -> None:
    office = Office()
    async with await asyncio.start_server(office.take, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        async with open_line((host, port), FakeClock(), random.Random(1)) as line:
            (shop_in, shop_out), (_, office_out) = await connected(line, office)

        assert await is_reset(shop_in)
        shop_out.close()
        office_out.close()


# --- finer faults: what bytes become of them stands in tests/unit/test_demo_faults.py


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

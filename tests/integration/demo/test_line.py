"""The relay between shop and head office, on real sockets: what passes, what a cut does, what is held up."""

import asyncio
import random

import pytest

from demo.line import Condition, open_line
from tests.fakes.clock import FakeClock
from tests.integration.demo.line_ends import Office, a_desk, connect, connected, is_reset


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

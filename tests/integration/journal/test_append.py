"""The journal stores in order, once, under signed heads, and says so only when it is on disk."""

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from appliance.domain import event as chain
from appliance.domain.errors import BadEvent, Busy, DiskFull, NotReady, SaleConflict, StorageFault
from appliance.domain.event import GENESIS, Position
from appliance.domain.statements import HEAD_TYPE, Head, verify
from appliance.runtime.database import Checkpoint, Writer, open_reader, open_writer
from appliance.storage import journal as journal_module
from appliance.storage import journal_tables as tables
from appliance.storage.commit import Draft
from appliance.storage.journal import GROUP_EVENTS_MAX, open_journal
from appliance.storage.unchecked import CHECKPOINT_EVENTS, CHECKPOINT_IDLE_S
from tests.fakes.clock import FakeClock
from tests.fakes.journals import BOX, KEYS, a_draft, a_journal, a_note, a_sealer
from tests.fakes.sales import a_sale, a_sale_id, a_trading_day


def stored(folder: Path) -> list[tables.Row]:
    reader = open_reader(folder / "journal.db")
    try:
        return list(tables.events(reader, 0))
    finally:
        reader.close()


async def test_a_new_journal_begins_with_the_opening_of_its_epoch(tmp_path: Path) -> None:
    async with a_journal(tmp_path) as journal:
        assert (journal.end.epoch, journal.end.seq) == (1, 1)

    [first] = stored(tmp_path)
    assert chain.read(first.body).link.kind == "epoch_opened"
    assert chain.read(first.body).link.prev == GENESIS.hex()


async def test_an_entry_is_visible_to_another_connection_when_append_returns(tmp_path: Path) -> None:
    async with a_journal(tmp_path) as journal:
        entry = await journal.append(a_draft(a_sale()))

        assert stored(tmp_path)[-1].body == entry.body


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 100, GROUP_EVENTS_MAX])
async def test_a_group_of_any_size_is_stored_whole_and_in_order(tmp_path: Path, count: int) -> None:
    sales = list(a_trading_day(random.Random(count), count))
    async with a_journal(tmp_path) as journal:
        entries = await asyncio.gather(*(journal.append(a_draft(sale)) for sale in sales))
        again = await asyncio.gather(*(journal.append(a_draft(sale)) for sale in sales))

    assert [row.body for row in stored(tmp_path)[-count:]] == [entry.body for entry in entries]
    assert [(entry.position, entry.known) for entry in again] == [(entry.position, True) for entry in entries]


async def test_sales_that_wait_together_share_one_signed_head(tmp_path: Path) -> None:
    async with a_journal(tmp_path) as journal:
        drafts = [a_draft(sale) for sale in a_trading_day(random.Random(1), 50)]
        entries = await asyncio.gather(*(journal.append(draft) for draft in drafts))

    reader = open_reader(tmp_path / "journal.db")
    heads = list(tables.heads(reader, 0))
    reader.close()
    assert len(heads) < 10
    for entry in entries:
        head = verify(entry.head, HEAD_TYPE, Head, KEYS)
        assert head.box == BOX
        assert head.seq >= entry.position.seq


async def test_the_chain_holds_from_the_first_event_to_the_end(tmp_path: Path) -> None:
    async with a_journal(tmp_path) as journal:
        for burst in range(5):
            await asyncio.gather(*(journal.append(a_note(burst * 40 + n)) for n in range(40)))
        end = journal.end

    bodies = [row.body for row in stored(tmp_path)]
    walked = list(chain.walk(Position(1, 0, GENESIS), bodies, box=BOX))
    assert walked[-1].hash == end.head
    assert len(walked) == end.seq == 201


async def test_a_known_sale_gives_its_first_entry_and_stores_nothing(tmp_path: Path) -> None:
    sale = a_sale()
    async with a_journal(tmp_path) as journal:
        first = await journal.append(a_draft(sale))
        await journal.append(a_note(1))
        end = journal.end

        again = await journal.append(a_draft(sale))

        assert again == first._replace(known=True)
        assert journal.end == end


async def test_a_known_sale_gives_its_first_entry_after_a_restart(tmp_path: Path) -> None:
    sale = a_sale()
    async with a_journal(tmp_path) as journal:
        first = await journal.append(a_draft(sale))

    async with a_journal(tmp_path) as journal:
        assert await journal.append(a_draft(sale)) == first._replace(known=True)


async def test_the_same_sale_twice_in_one_group_is_stored_once(tmp_path: Path) -> None:
    sale = a_sale()
    async with a_journal(tmp_path) as journal:
        first, second = await asyncio.gather(journal.append(a_draft(sale)), journal.append(a_draft(sale)))

        assert (first.known, second.known) == (False, True)
        assert (first.position, first.head) == (second.position, second.head)
        assert journal.end.seq == 2


async def test_the_same_id_with_other_content_is_a_conflict(tmp_path: Path) -> None:
    sale_id = a_sale_id()
    async with a_journal(tmp_path) as journal:
        await journal.append(a_draft(a_sale(sale_id=sale_id)))
        end = journal.end

        with pytest.raises(SaleConflict) as caught:
            await journal.append(a_draft(a_sale(sale_id=sale_id, ticket_number=2)))

        assert caught.value.fields == {"epoch": 1, "seq": 2}
        assert journal.end == end


async def test_a_conflict_inside_a_group_fails_alone(tmp_path: Path) -> None:
    sale_id = a_sale_id()
    drafts = [
        a_draft(a_sale(sale_id=sale_id)),
        a_draft(a_sale(sale_id=sale_id, ticket_number=2)),
        a_draft(a_sale()),
    ]
    async with a_journal(tmp_path) as journal:
        first, second, third = await asyncio.gather(*map(journal.append, drafts), return_exceptions=True)

    assert isinstance(second, SaleConflict)
    assert not isinstance(first, BaseException)
    assert not isinstance(third, BaseException)
    assert (first.position.seq, third.position.seq) == (2, 3)


async def test_a_cancelled_caller_does_not_tear_the_chain(tmp_path: Path) -> None:
    rng = random.Random(7)
    async with a_journal(tmp_path) as journal:
        for round_number in range(30):
            tasks = [asyncio.create_task(journal.append(a_note(round_number * 10 + n))) for n in range(10)]
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(0)
            for task in rng.sample(tasks, 5):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        end = journal.end

    walked = list(chain.walk(Position(1, 0, GENESIS), (row.body for row in stored(tmp_path)), box=BOX))
    assert walked[-1].hash == end.head


async def test_what_waits_at_closing_is_stored_before_the_file_closes(tmp_path: Path) -> None:
    async with a_journal(tmp_path) as journal:
        tasks = [asyncio.create_task(journal.append(a_note(n))) for n in range(300)]
        await asyncio.sleep(0)

    assert all(task.done() and task.exception() is None for task in tasks)
    assert len(stored(tmp_path)) == 301


async def test_a_closed_journal_accepts_nothing(tmp_path: Path) -> None:
    async with a_journal(tmp_path) as journal:
        pass

    with pytest.raises(NotReady):
        await journal.append(a_note(1))


async def test_a_full_queue_answers_busy_and_loses_nothing(tmp_path: Path) -> None:
    async with a_journal(tmp_path) as journal:
        tasks = [asyncio.create_task(journal.append(a_note(n))) for n in range(journal_module.QUEUE_MAX + 5)]
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)

    busy = [outcome for outcome in outcomes if isinstance(outcome, Busy)]
    assert len(busy) == 5
    assert all(error.fields["retry_after_s"] >= 1 for error in busy)
    assert len(stored(tmp_path)) == 1 + journal_module.QUEUE_MAX


async def test_a_full_disk_refuses_and_recovers_by_itself(tmp_path: Path) -> None:
    async with a_journal(tmp_path) as journal:
        noise = random.Random(1).randbytes(100_000).hex().encode()  # what repeats is packed to nothing
        big = Draft("noted", b'{"text":"%b"}' % noise)
        await journal._writer.transaction(lambda c: c.execute("PRAGMA max_page_count=20").fetchone())
        end = journal.end

        with pytest.raises(DiskFull):
            await journal.append(big)
        assert journal.end == end

        await journal._writer.transaction(lambda c: c.execute("PRAGMA max_page_count=100000").fetchone())
        assert (await journal.append(big)).position.seq == end.seq + 1


async def test_a_journal_that_lost_its_tail_is_not_opened(tmp_path: Path) -> None:
    async with a_journal(tmp_path) as journal:
        for number in range(3):
            await journal.append(a_note(number))
    with sqlite3.connect(tmp_path / "journal.db") as connection:
        connection.execute("DELETE FROM event WHERE place = (SELECT max(place) FROM event)")
    connection.close()

    with pytest.raises(BadEvent, match="vouches for 1/4"):
        async with a_journal(tmp_path):
            pass


async def test_a_file_that_is_no_database_is_not_opened_and_not_touched(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"not a database, but precious" * 100)

    with pytest.raises(StorageFault):
        async with a_journal(tmp_path):
            pass

    assert (tmp_path / "journal.db").read_bytes().startswith(b"not a database, but precious")


async def test_the_wal_stays_small_while_sales_come_in(tmp_path: Path) -> None:
    async with a_journal(tmp_path) as journal:
        for number in range(2_000):
            await journal.append(a_note(number))

        assert (tmp_path / "journal.db-wal").stat().st_size < 16 * 1024 * 1024


async def test_a_moment_without_sales_empties_the_wal(tmp_path: Path) -> None:
    clock = FakeClock()
    async with a_journal(tmp_path, clock) as journal:
        for number in range(CHECKPOINT_EVENTS):
            await journal.append(a_note(number))
        told = asyncio.create_task(journal.checkpointed())
        await clock.advance(CHECKPOINT_IDLE_S)
        await told

        with closing(sqlite3.connect(f"file:{tmp_path}/journal.db?immutable=1", uri=True)) as without_wal:
            assert len(list(tables.events(without_wal, 0))) == CHECKPOINT_EVENTS + 1


class FallingWriter(Writer):
    """Has a bug that no transaction explains."""

    async def checkpoint(self, mode: Checkpoint) -> bool:
        """Falls, but for the one at start."""
        if mode == "PASSIVE":
            raise asyncio.CancelledError
        return await super().checkpoint(mode)


@asynccontextmanager
async def a_falling_database(path: Path) -> AsyncIterator[Writer]:
    async with open_writer(path) as writer:
        yield FallingWriter(writer._connection, writer._executor)


async def test_when_the_committing_falls_nobody_waits_for_ever(tmp_path: Path) -> None:
    clock = FakeClock()
    opening = open_journal(tmp_path / "journal.db", a_sealer(clock), open_database=a_falling_database)
    async with opening as journal:
        for number in range(CHECKPOINT_EVENTS):
            await journal.append(a_note(number))
        await clock.advance(CHECKPOINT_IDLE_S)

        with pytest.raises(NotReady):
            await asyncio.wait_for(journal.append(a_note(99)), 10)


async def test_growth_is_told_once_per_change(tmp_path: Path) -> None:
    async with a_journal(tmp_path) as journal:
        await journal.grown()
        waiting = asyncio.create_task(journal.grown())
        await asyncio.sleep(0)
        assert not waiting.done()

        await journal.append(a_note(1))
        await waiting

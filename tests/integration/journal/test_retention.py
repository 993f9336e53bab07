"""What the cloud holds leaves the box after its retention; acks stay for ever, and the chain still verifies."""

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from appliance.domain.errors import BadEvent, ChainFault, SaleConflict
from appliance.domain.sale import Sale
from appliance.domain.statements import ANCHOR_TYPE, Anchor, Receipt, verify
from appliance.domain.tickets import REUSED, ticket_of_sale
from appliance.runtime.clock import rfc3339
from appliance.runtime.database import open_reader
from appliance.services.retention import CHUNK_EVENTS, Retention
from appliance.services.verification import Finding, verify_journal
from appliance.storage import journal_tables as tables
from appliance.storage.commit import Draft, Entry
from appliance.storage.journal import Journal
from appliance.storage.kept import anchors
from tests.fakes.clock import OPENING, FakeClock
from tests.fakes.journals import BOX, KEYS, a_draft, a_journal, a_note
from tests.fakes.sales import a_sale, a_sale_id, a_trading_day

DAY_S = 86_400.0
KEEP_DAYS = 35


def seqs(folder: Path) -> list[int]:
    reader = open_reader(folder / "journal.db")
    try:
        return [row.seq for row in tables.events(reader, 0)]
    finally:
        reader.close()


def verified(folder: Path) -> Finding:
    return verify_journal(folder / "journal.db", BOX, KEYS, lambda events: None)


async def receipt(
    journal: Journal, clock: FakeClock, seq: int | None = None, *, at: str | None = None
) -> None:
    """The cloud holds everything up to a seq (None: all)."""
    end = journal.end
    seq = end.seq if seq is None else seq
    head = journal.hash_at(end.epoch, seq)
    assert head is not None
    said = Receipt(BOX, end.epoch, seq, head.hex(), at or rfc3339(clock.wall()), "00" * 16)
    await journal.settle(said, b"envelope")


async def prune_all(journal: Journal, clock: FakeClock, keep_days: int = KEEP_DAYS) -> int:
    retention = Retention(journal, clock, keep_days)
    while await retention.step():
        pass
    assert retention.stopped is None
    return retention.pruned


async def sell(journal: Journal, sales: list[Sale]) -> list[Entry]:
    return await asyncio.gather(*(journal.append(a_draft(sale)) for sale in sales))


@asynccontextmanager
async def old_journal(folder: Path, clock: FakeClock, sales: int = 100) -> AsyncIterator[Journal]:
    """A journal whose sales the cloud held 36 days ago, and one event since."""
    async with a_journal(folder, clock) as journal:
        await sell(journal, a_trading_day(random.Random(1), sales))
        await receipt(journal, clock)
        clock.jump_wall(timedelta(days=36))
        await journal.append(a_note(1))
        yield journal


async def test_what_the_cloud_held_for_the_whole_retention_leaves(tmp_path: Path) -> None:
    clock = FakeClock()
    async with old_journal(tmp_path, clock) as journal:
        assert await prune_all(journal, clock) == 101

    assert seqs(tmp_path) == [102]
    assert verified(tmp_path).fault is None


async def test_one_day_less_and_nothing_leaves(tmp_path: Path) -> None:
    clock = FakeClock()
    async with old_journal(tmp_path, clock) as journal:
        assert await prune_all(journal, clock, keep_days=37) == 0

    assert len(seqs(tmp_path)) == 102


async def test_what_has_no_receipt_stays_however_old(tmp_path: Path) -> None:
    clock = FakeClock()
    async with a_journal(tmp_path, clock) as journal:
        await sell(journal, a_trading_day(random.Random(1), 50))
        await receipt(journal, clock, 20)
        clock.jump_wall(timedelta(days=4_000))

        await prune_all(journal, clock)

    assert seqs(tmp_path) == list(range(21, 52))


@pytest.mark.parametrize("quality", ["unknown", "floor"])
async def test_a_clock_that_nobody_confirmed_prunes_nothing(tmp_path: Path, quality: str) -> None:
    clock = FakeClock()
    async with old_journal(tmp_path, clock) as journal:
        clock.jump_wall(timedelta(days=3_650))
        clock.quality = quality  # type: ignore[assignment]  # one of ClockQuality

        assert await prune_all(journal, clock) == 0


@pytest.mark.parametrize("years", [-10, 10])
async def test_a_receipt_whose_time_is_not_ours_does_not_count(tmp_path: Path, years: int) -> None:
    """The cloud's clock was wrong, or ours: nothing can be said of the age until both agree."""
    clock = FakeClock()
    async with a_journal(tmp_path, clock) as journal:
        await sell(journal, a_trading_day(random.Random(1), 10))
        await receipt(journal, clock, at=rfc3339(OPENING + timedelta(days=365 * years)))
        clock.jump_wall(timedelta(days=36))
        await journal.append(a_note(1))
        assert await prune_all(journal, clock) == 0

        await receipt(journal, clock)
        clock.jump_wall(timedelta(days=36))
        assert await prune_all(journal, clock) == 11


async def test_the_newest_event_always_stays(tmp_path: Path) -> None:
    clock = FakeClock()
    async with a_journal(tmp_path, clock) as journal:
        await journal.append(a_note(1))
        await receipt(journal, clock)
        clock.jump_wall(timedelta(days=100))
        await prune_all(journal, clock)
        end = journal.end

    assert seqs(tmp_path) == [2]
    async with a_journal(tmp_path, clock) as journal:
        assert journal.end == end


async def test_a_pruned_sale_still_gets_its_first_ack(tmp_path: Path) -> None:
    clock = FakeClock()
    sales = a_trading_day(random.Random(2), 40)
    async with a_journal(tmp_path, clock) as journal:
        before = [(e.position, e.head) for e in await sell(journal, sales)]
        await receipt(journal, clock)
        clock.jump_wall(timedelta(days=36))
        await journal.append(a_note(1))
        await prune_all(journal, clock)

        after = await sell(journal, sales)

        assert [(e.position, e.head) for e in after] == before
        assert all(entry.known and entry.pruned for entry in after)
        assert journal.end.seq == 42


async def test_a_pruned_sale_s_id_with_other_content_is_still_a_conflict(tmp_path: Path) -> None:
    clock, sale_id = FakeClock(), a_sale_id()
    async with a_journal(tmp_path, clock) as journal:
        await journal.append(a_draft(a_sale(sale_id=sale_id)))
        await receipt(journal, clock)
        clock.jump_wall(timedelta(days=36))
        await journal.append(a_note(1))
        await prune_all(journal, clock)

        with pytest.raises(SaleConflict):
            await journal.append(a_draft(a_sale(sale_id=sale_id, ticket_number=7)))


async def test_behind_the_cut_stands_a_signed_anchor(tmp_path: Path) -> None:
    clock = FakeClock()
    async with old_journal(tmp_path, clock) as journal:
        head = journal.hash_at(1, 101)
        assert head is not None
        await prune_all(journal, clock)

    reader = open_reader(tmp_path / "journal.db")
    [(epoch, envelope)] = anchors(reader).items()
    reader.close()
    assert epoch == 1
    said = verify(envelope, ANCHOR_TYPE, Anchor, KEYS)
    assert (said.box, said.epoch, said.seq, said.head) == (BOX, 1, 101, head.hex())


async def test_a_chunk_is_bounded(tmp_path: Path) -> None:
    clock = FakeClock()
    async with old_journal(tmp_path, clock, sales=300) as journal:
        retention = Retention(journal, clock, KEEP_DAYS)

        assert await retention.step()

        assert retention.pruned == CHUNK_EVENTS
    assert verified(tmp_path).fault is None


async def test_a_damaged_journal_is_not_pruned_and_says_so(tmp_path: Path) -> None:
    clock = FakeClock()
    async with old_journal(tmp_path, clock) as journal:
        with sqlite3.connect(tmp_path / "journal.db") as connection:
            body = tables.body_at(connection, tables.place_of(1, 30)) or b""
            connection.execute(
                "UPDATE event SET body = ? WHERE place = ?",
                (body.replace(b"sale", b"salt"), tables.place_of(1, 30)),
            )
        connection.close()
        retention = Retention(journal, clock, KEEP_DAYS)

        assert not await retention.step()

        assert retention.stopped is not None
        with pytest.raises(ChainFault):
            await journal.prune(clock.wall(), 64)
        assert seqs(tmp_path) == list(range(1, 103))


async def test_a_forged_anchor_does_not_open(tmp_path: Path) -> None:
    clock = FakeClock()
    async with old_journal(tmp_path, clock) as journal:
        await prune_all(journal, clock)
    with sqlite3.connect(tmp_path / "journal.db") as connection:
        connection.execute("DELETE FROM anchor")
    connection.close()

    fault = verified(tmp_path).fault

    assert fault is not None
    assert (fault.seq, fault.code) == (102, "gap")
    with pytest.raises((BadEvent, ChainFault)):
        async with a_journal(tmp_path, clock):
            pass


async def test_the_loop_prunes_by_itself_and_waits_for_an_idle_moment(tmp_path: Path) -> None:
    clock = FakeClock()
    async with old_journal(tmp_path, clock, sales=150) as journal:
        retention = Retention(journal, clock, KEEP_DAYS)
        task = asyncio.create_task(retention.run())

        await clock.run_until(lambda: retention.pruned == 151, within_s=10.0)

        task.cancel()
    assert seqs(tmp_path) == [152]


@pytest.mark.parametrize("seed", range(12))
async def test_however_it_is_pruned_the_chain_verifies_and_each_sale_is_known(
    tmp_path: Path, seed: int
) -> None:
    """Sell, receipt, wait, prune a little, restart, in any order."""
    rng, clock = random.Random(seed), FakeClock()
    acked: dict[str, tuple[Sale, Entry]] = {}
    for _ in range(4):
        async with a_journal(tmp_path, clock) as journal:
            for _ in range(rng.randint(3, 8)):
                sales = [a_sale(ticket_number=rng.randint(1, 9_999)) for _ in range(rng.randint(1, 12))]
                for sale, entry in zip(sales, await sell(journal, sales), strict=True):
                    acked[sale.sale_id] = (sale, entry)
                await journal.append(a_note(rng.randint(1, 99)))
                if rng.random() < 0.7:
                    await receipt(
                        journal, clock, rng.randint(journal.synced().get(1, 0) + 1, journal.end.seq)
                    )
                clock.jump_wall(timedelta(days=rng.uniform(0, 20)))
                for _ in range(rng.randint(0, 3)):
                    await journal.prune(clock.wall() - timedelta(days=KEEP_DAYS), rng.randint(1, 30))
                assert min(seqs(tmp_path)) <= journal.synced().get(1, 0) + 1
            for sale, first in acked.values():
                again = await journal.append(a_draft(sale))
                assert (again.position, again.head, again.known) == (first.position, first.head, True)
        finding = verified(tmp_path)
        assert finding.fault is None
        assert finding.sales == len(acked)


def judged(sale: Sale) -> Draft:
    return a_draft(sale)._replace(ticket=ticket_of_sale(sale))


@pytest.mark.parametrize("restart", [False, True])
async def test_ticket_numbers_of_pruned_sales_are_still_known(tmp_path: Path, restart: bool) -> None:
    clock = FakeClock()
    async with a_journal(tmp_path, clock) as journal:
        for number in range(1, 21):
            await journal.append(judged(a_sale(ticket_number=number)))
        await receipt(journal, clock)
        clock.jump_wall(timedelta(days=36))
        await journal.append(judged(a_sale(ticket_number=21)))
        assert await prune_all(journal, clock) == 21
        again = None if restart else await journal.append(judged(a_sale(ticket_number=7)))
    if again is None:
        async with a_journal(tmp_path, clock) as journal:
            again = await journal.append(judged(a_sale(ticket_number=7)))

    assert f'"{REUSED}"'.encode() in again.body


async def test_an_odd_event_that_no_ack_was_given_for_leaves_like_any_other(tmp_path: Path) -> None:
    clock = FakeClock()
    async with a_journal(tmp_path, clock) as journal:
        for data in (b'"something else"', b"[]", b'{"flags":[],"sale":"none"}'):
            await journal.append(Draft("sale", data))
        await receipt(journal, clock)
        clock.jump_wall(timedelta(days=36))
        await journal.append(a_note(1))

        assert await prune_all(journal, clock) == 4

    assert seqs(tmp_path) == [5]
    assert verified(tmp_path).fault is None


async def test_a_sale_whose_ack_could_no_longer_be_given_stops_pruning_and_not_the_box(
    tmp_path: Path,
) -> None:
    clock = FakeClock()
    async with a_journal(tmp_path, clock) as journal:
        await journal.append(Draft("sale", b"[]", sale_key=bytes(16)))
        await receipt(journal, clock)
        clock.jump_wall(timedelta(days=36))
        await journal.append(a_note(1))
        retention = Retention(journal, clock, KEEP_DAYS)

        assert not await retention.step()

        assert retention.stopped is not None
    assert seqs(tmp_path) == [1, 2, 3]

"""After pruning, acks and ticket numbers stay for ever, and the chain still verifies."""

import random
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from appliance.domain.errors import BadEvent, ChainFault, SaleConflict
from appliance.domain.sale import Sale
from appliance.domain.statements import ANCHOR_TYPE, Anchor, verify
from appliance.domain.tickets import REUSED, ticket_of_sale
from appliance.runtime.database import open_reader
from appliance.storage.commit import Draft, Entry
from appliance.storage.kept import anchors
from tests.fakes.clock import FakeClock
from tests.fakes.journals import BOX, KEYS, a_draft, a_journal, a_note
from tests.fakes.sales import a_sale, a_sale_id, a_trading_day
from tests.integration.journal.pruning import KEEP_DAYS, old_journal, prune_all, receipt, sell, seqs, verified


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

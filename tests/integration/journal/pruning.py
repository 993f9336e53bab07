"""A journal that is old enough to be pruned, and what its tests do with it."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from appliance.domain.sale import Sale
from appliance.domain.statements import Receipt
from appliance.runtime.clock import rfc3339
from appliance.runtime.database import open_reader
from appliance.services.retention import Retention
from appliance.services.verification import Finding, verify_journal
from appliance.storage import journal_tables as tables
from appliance.storage.commit import Entry
from appliance.storage.journal import Journal
from tests.fakes.clock import FakeClock
from tests.fakes.journals import BOX, KEYS, a_draft, a_journal, a_note
from tests.fakes.sales import a_trading_day

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

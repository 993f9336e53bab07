"""The issue of a stranded epoch stands exactly as long as head office lacks one of its sales."""

import asyncio
from pathlib import Path

from appliance.domain.event import Position
from appliance.domain.statements import Receipt
from appliance.runtime.database import read_only_uri
from appliance.services.stranding import Stranding
from appliance.storage.journal import Journal
from appliance.storage.journal_tables import place_of
from appliance.storage.outgoing import open_outgoing
from tests.fakes.journals import BOX, a_draft, a_journal, change_event
from tests.fakes.sales import a_sale, a_sale_id


async def fill(folder: Path) -> None:
    """Three sales in epoch 1, then an epoch 2."""
    async with a_journal(folder) as journal:
        for number in (1, 2, 3):
            await journal.append(a_draft(a_sale(sale_id=a_sale_id(), ticket_number=number)))
        await journal.open_epoch(2, {"reason": "a test"})


async def receipt(journal: Journal, end: Position) -> None:
    held = Receipt(BOX, end.epoch, end.seq, end.head.hex(), "2026-11-22T09:00:00.000Z", "0" * 32)
    await journal.settle(held, b"{}")


async def test_it_stands_until_head_office_holds_the_last_carried_sale_also_after_a_restart(
    tmp_path: Path,
) -> None:
    await fill(tmp_path)
    uri = read_only_uri(tmp_path / "journal.db")
    async with a_journal(tmp_path) as journal, open_outgoing(uri) as outgoing:
        stranding, began = Stranding(journal, outgoing), journal.end
        await stranding.strand(1)
        assert stranding.unsettled() == [1]
        await receipt(journal, began)
        assert stranding.unsettled() == [1]
    async with a_journal(tmp_path) as journal, open_outgoing(uri) as outgoing:
        stranding, end = Stranding(journal, outgoing), journal.end
        await stranding.strand(1)
        assert journal.end == end, "carrying twice changes nothing"
        assert stranding.unsettled() == [1]
        await receipt(journal, end)
        assert stranding.unsettled() == []


async def test_an_epoch_that_was_carried_into_one_that_is_stranded_too_waits_for_the_third(
    tmp_path: Path,
) -> None:
    await fill(tmp_path)
    async with (
        a_journal(tmp_path) as journal,
        open_outgoing(read_only_uri(tmp_path / "journal.db")) as outgoing,
    ):
        stranding = Stranding(journal, outgoing)
        await stranding.strand(1)
        await journal.open_epoch(3, {"reason": "a test"})
        await stranding.strand(2)
        assert stranding.unsettled() == [1, 2]
        await receipt(journal, journal.end)
        assert stranding.unsettled() == []


async def test_an_event_that_nobody_can_read_keeps_it(tmp_path: Path) -> None:
    await fill(tmp_path)
    path = tmp_path / "journal.db"
    await asyncio.to_thread(change_event, path, place_of(1, 3), b'"sale":', b'"mail":')
    async with a_journal(tmp_path) as journal, open_outgoing(read_only_uri(path)) as outgoing:
        stranding = Stranding(journal, outgoing)
        await stranding.strand(1)
        await receipt(journal, journal.end)
        assert stranding.unsettled() == [1]

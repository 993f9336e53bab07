"""A damaged journal is set aside, never deleted, and the shop sells on in an epoch that was never used."""

import asyncio
import random
import sqlite3
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.domain.dsse import Signer
from appliance.domain.errors import StorageFault
from appliance.runtime.database import open_reader
from appliance.runtime.supervision import MustRestart
from appliance.services.damage import end_when_damaged
from appliance.storage import journal_tables as tables
from appliance.storage.headfile import HeadFile
from appliance.storage.journal import Journal
from appliance.storage.pages import PAGES_A_SIGN
from appliance.storage.set_aside import mark_damaged, numbers_aside, open_or_set_aside
from tests.fakes.journals import a_draft, a_journal, a_note, a_sealer, change_event
from tests.fakes.sales import a_sale, a_sale_json
from tests.integration.rollback.conftest import Card, status_of


def no_head(folder: Path) -> HeadFile:
    return HeadFile(folder / "head", a_sealer().keys)


async def keep_head(folder: Path, journal: Journal) -> None:
    await asyncio.to_thread(no_head(folder).write, journal.signed_head() or b"")


async def asides(folder: Path) -> list[int]:
    return await asyncio.to_thread(numbers_aside, folder / "journal.db")


async def filled(folder: Path, count: int = 300) -> bytes:
    """A journal with some sales in it, closed; its bytes."""
    async with a_journal(folder) as journal:
        await asyncio.gather(*(journal.append(a_draft(a_sale(ticket_number=n + 1))) for n in range(count)))
    return await asyncio.to_thread((folder / "journal.db").read_bytes)


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


async def test_a_file_that_is_no_database_goes_aside_whole_and_the_box_sells(tmp_path: Path) -> None:
    precious = b"not a database, but precious" * 100
    (tmp_path / "journal.db").write_bytes(precious)

    async with open_or_set_aside(tmp_path / "journal.db", a_sealer(), no_head(tmp_path)) as journal:
        entry = await journal.append(a_draft(a_sale()))

    assert entry.position.epoch == 2
    assert (tmp_path / "journal.db.aside-1").read_bytes() == precious
    assert await asides(tmp_path) == [1]


async def test_a_journal_that_fails_its_proof_goes_aside_and_the_epoch_comes_from_its_own_bytes(
    tmp_path: Path,
) -> None:
    async with a_journal(tmp_path) as journal:
        await journal.open_epoch(7, {"reason": "a test"})
        for number in range(5):
            await journal.append(a_note(number))
    await asyncio.to_thread(
        change_event, tmp_path / "journal.db", tables.place_of(7, 5), b'"number":3', b'"number":9'
    )

    async with open_or_set_aside(tmp_path / "journal.db", a_sealer(), no_head(tmp_path)) as journal:
        assert journal.end.epoch == 8
        first = tables.body_at(journal._reader, tables.place_of(8, 1))
        second = tables.body_at(journal._reader, tables.place_of(8, 2))

    assert first is not None
    assert b'"reason":"journal-set-aside"' in first
    assert second is not None
    assert b'"kind":"journal_set_aside"' in second
    assert b"journal.db.aside-1" in second


async def test_who_starts_hears_that_a_damaged_journal_is_read_on(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(random.Random(2).randbytes(3 * PAGES_A_SIGN * 4_096))
    signs = list[None]()

    async with open_or_set_aside(
        tmp_path / "journal.db", a_sealer(), no_head(tmp_path), gets_on=lambda: signs.append(None)
    ):
        assert len(signs) == 3


async def test_the_head_file_keeps_the_epoch_when_the_file_tells_nothing(tmp_path: Path) -> None:
    async with a_journal(tmp_path) as journal:
        await journal.open_epoch(41, {"reason": "a test"})
        await keep_head(tmp_path, journal)
    (tmp_path / "journal.db").write_bytes(random.Random(1).randbytes(100_000))

    async with open_or_set_aside(tmp_path / "journal.db", a_sealer(), no_head(tmp_path)) as journal:
        assert journal.end.epoch == 42


async def test_a_journal_that_is_gone_begins_above_the_head_file(tmp_path: Path) -> None:
    async with a_journal(tmp_path) as journal:
        await keep_head(tmp_path, journal)
    for name in ("journal.db", "journal.db-wal", "journal.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)

    async with open_or_set_aside(tmp_path / "journal.db", a_sealer(), no_head(tmp_path)) as journal:
        assert journal.end.epoch == 2


async def test_another_boxs_head_file_counts_for_nothing(tmp_path: Path) -> None:
    stranger = Signer(Ed25519PrivateKey.generate())
    async with a_journal(tmp_path) as journal:
        await journal.open_epoch(9, {"reason": "a test"})
        await keep_head(tmp_path, journal)

    assert (
        await asyncio.to_thread(HeadFile(tmp_path / "head", {stranger.key_id: stranger.public_key}).read)
        is None
    )


async def test_setting_aside_that_was_cut_goes_on_under_the_same_number(tmp_path: Path) -> None:
    content = await filled(tmp_path, 3)
    await asyncio.to_thread(mark_damaged, tmp_path / "journal.db", "a test")
    (tmp_path / "journal.db").replace(tmp_path / "journal.db.aside-1")  # ... and the power fails here

    async with open_or_set_aside(tmp_path / "journal.db", a_sealer(), no_head(tmp_path)) as journal:
        assert journal.end.epoch == 2

    assert (tmp_path / "journal.db.aside-1").read_bytes() == content
    assert not (tmp_path / "journal.db.damaged").exists()


async def test_a_second_damage_gets_a_number_of_its_own(tmp_path: Path) -> None:
    for _ in range(2):
        await asyncio.to_thread((tmp_path / "journal.db").write_bytes, b"garbage" * 1_000)
        async with open_or_set_aside(tmp_path / "journal.db", a_sealer(), no_head(tmp_path)) as journal:
            await journal.append(a_note(1))

    assert await asides(tmp_path) == [1, 2]


@pytest.mark.parametrize("seed", range(20))
async def test_wherever_a_page_rots_the_box_opens_and_never_reuses_a_place(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    content = await filled(tmp_path, 60)
    for _ in range(8):
        overwrite(tmp_path / "journal.db", rng.randrange(len(content) - 512), rng.randbytes(512))

    async with open_or_set_aside(tmp_path / "journal.db", a_sealer(), no_head(tmp_path)) as journal:
        end = journal.end
    assert end.epoch == 2 or end.seq == 61


async def test_damage_met_while_selling_ends_the_process_and_the_next_one_sells_on(tmp_path: Path) -> None:
    await filled(tmp_path)
    path = tmp_path / "journal.db"
    async with a_journal(tmp_path) as journal:
        ending = asyncio.create_task(end_when_damaged(journal, path))
        reader = open_reader(path)
        pages = [row[0] for row in reader.execute("SELECT rootpage FROM sqlite_master WHERE rootpage > 0")]
        reader.close()
        # The cache of the open connection hides the file until it must read it again.
        await journal._writer.transaction(lambda c: c.execute("PRAGMA shrink_memory"))
        for page in pages:
            overwrite(path, (page - 1) * 4096, b"\xff" * 4096)
        with pytest.raises((StorageFault, sqlite3.DatabaseError)):
            await journal.append(a_draft(a_sale(ticket_number=10_000)))
        assert journal.fault is not None
        with pytest.raises(MustRestart):
            await asyncio.wait_for(ending, 10)

    async with open_or_set_aside(path, a_sealer(), no_head(tmp_path)) as journal:
        assert (await journal.append(a_draft(a_sale()))).position.epoch == 2
    assert await asides(tmp_path) == [1]


async def test_a_box_whose_journal_is_damaged_sells_and_says_so(card: Card) -> None:
    async with card.running(line=False) as shop:
        assert (await shop.sell(a_sale_json())).status == 201
    (card.config.state / "journal.db").write_bytes(b"\xff" * 50_000)

    async with card.running(line=False) as shop:
        assert (await shop.sell(a_sale_json())).status == 201
        status = await status_of(shop)
        assert status.journal.epoch == 2
        assert status.issues == ["journal-set-aside-1"]

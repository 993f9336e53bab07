"""`storebox verify` finds every way in which a journal can be wrong, and names the first."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.domain import event as chain
from appliance.services.verification import Finding, verify_journal
from appliance.storage import journal_tables as tables
from tests.fakes.journals import BOX, KEYS, a_draft, a_journal, a_note
from tests.fakes.sales import a_sale, a_sale_id

Damage = Callable[[sqlite3.Connection], object]


async def make(folder: Path) -> Path:
    async with a_journal(folder) as journal:
        for number in range(6):
            await journal.append(a_draft(a_sale(ticket_number=number + 1)))
        await journal.append(a_note(1))
    return folder / "journal.db"


def verified(path: Path) -> Finding:
    return verify_journal(path, BOX, KEYS, lambda events: None)


async def test_a_sound_journal_has_no_fault(tmp_path: Path) -> None:
    finding = verified(await make(tmp_path))

    assert finding == Finding(events=8, epochs=1, heads=8, sales=6, fault=None)


def flip(connection: sqlite3.Connection) -> None:
    body = tables.body_at(connection, tables.place_of(1, 4)) or b""
    changed = body.replace(b"socks", b"rocks")
    connection.execute("UPDATE event SET body = ? WHERE place = ?", (changed, tables.place_of(1, 4)))


def swap(connection: sqlite3.Connection) -> None:
    first, second = (tables.body_at(connection, tables.place_of(1, seq)) for seq in (4, 5))
    connection.execute("UPDATE event SET body = ? WHERE place = ?", (first, tables.place_of(1, 5)))
    connection.execute("UPDATE event SET body = ? WHERE place = ?", (second, tables.place_of(1, 4)))


def forge(connection: sqlite3.Connection) -> None:
    """Rewrite the last event with a right chain; only the signed head gives it away."""
    before = chain.read(tables.body_at(connection, tables.place_of(1, 7)) or b"")
    last = chain.content(tables.body_at(connection, tables.place_of(1, 8)) or b"")
    forged = chain.seal(
        chain.Position(1, 7, before.hash),
        box=BOX,
        kind="noted",
        till=None,
        at=last.at,
        clock=last.clock,
        data={"number": 2},
    )
    connection.execute("UPDATE event SET body = ? WHERE place = ?", (forged.body, tables.place_of(1, 8)))


def delete(sql: str) -> Damage:
    return lambda connection: connection.execute(sql)


@pytest.mark.parametrize(
    ("damage", "seq", "code"),
    [
        (flip, 4, "altered"),
        (swap, 4, "bad-event"),
        (forge, 8, "altered"),
        (delete("DELETE FROM event WHERE place & 0xff = 4"), 5, "gap"),
        (delete("DELETE FROM event WHERE place & 0xff = 8"), 8, "truncated"),
        (delete("DELETE FROM head WHERE place & 0xff = 8"), 8, "unsigned-tail"),
        (delete("UPDATE head SET envelope = x'7b7d' WHERE place & 0xff = 3"), 3, "bad-signature"),
        (delete("UPDATE head SET place = place + 100 WHERE place & 0xff = 8"), 8, "unsigned-tail"),
        (delete("UPDATE event SET body = x'7b7d' WHERE place & 0xff = 2"), 2, "bad-event"),
        (delete("UPDATE sale SET place = place + 1 WHERE place & 0xff = 3"), 4, "altered"),
        (delete("UPDATE sale SET place = place + 50 WHERE place & 0xff = 3"), 53, "stray-sale"),
    ],
)
async def test_the_first_fault_is_named(tmp_path: Path, damage: Damage, seq: int, code: str) -> None:
    path = await make(tmp_path)
    with sqlite3.connect(path) as connection:
        damage(connection)
    connection.close()

    fault = verified(path).fault

    assert fault is not None
    assert (fault.epoch, fault.seq, fault.code) == (1, seq, code)


async def test_another_box_s_key_does_not_verify(tmp_path: Path) -> None:
    path = await make(tmp_path)

    fault = verify_journal(path, BOX, {}, lambda events: None).fault

    assert fault is not None
    assert fault.code == "bad-signature"


async def test_a_damaged_file_is_named_not_raised(tmp_path: Path) -> None:
    path = await make(tmp_path)
    content = bytearray(path.read_bytes())
    content[4096 * 2 : 4096 * 3] = b"\xff" * 4096
    path.write_bytes(bytes(content))

    fault = verified(path).fault

    assert fault is not None
    assert fault.code in ("damaged-file", "unreadable")


async def test_a_kept_conflict_is_no_fault(tmp_path: Path) -> None:
    sale = a_sale(sale_id=a_sale_id())
    async with a_journal(tmp_path) as journal:
        draft = a_draft(sale)
        await journal.append(draft)
        key = b"conflict" + chain.digest(sale.encode())
        data = b'{"sale":%b,"stands_at":{}}' % sale.encode()
        await journal.append(draft._replace(kind="sale_conflict", sale_key=key, data=data))

    assert verified(tmp_path / "journal.db").fault is None


def test_a_file_that_cannot_be_opened_is_told_in_a_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "journal.db"
    folder.mkdir()

    finding = verified(folder)

    assert finding.fault is not None
    assert (finding.fault.code, finding.fault.detail) == ("unreadable", f"{folder} is no file")


async def test_a_journal_whose_folder_cannot_be_written_to_is_told_what_to_do(tmp_path: Path) -> None:
    path = await make(tmp_path)
    # What SQLite must make beside the file is in the way of itself.
    await asyncio.to_thread(path.with_name("journal.db-wal").mkdir)

    finding = await asyncio.to_thread(verified, path)

    assert finding.fault is not None
    assert finding.fault.code == "unreadable"
    assert "Copy it, with its -wal" in finding.fault.detail

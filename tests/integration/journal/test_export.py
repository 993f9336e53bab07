"""An export is whole, verifies by itself, and each fault in it is named."""

import asyncio
import io
import random
import sqlite3
import tarfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.domain.dsse import Signer
from appliance.domain.errors import ConfigError
from appliance.domain.statements import RECEIPT_TYPE, Receipt, sign
from appliance.domain.wire import ExportNote
from appliance.runtime.clock import rfc3339
from appliance.runtime.keyfile import public_pem
from appliance.services.export import export_to_folder, export_to_stream
from appliance.services.verification import Finding, verify_export, verify_journal
from appliance.storage.archive import PublicKeys
from appliance.storage.journal import Journal
from tests.fakes.clock import FakeClock
from tests.fakes.journals import BOX, KEYS, SIGNER, a_draft, a_journal, a_note
from tests.fakes.sales import a_trading_day

CLOUD = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
CLOUD_KEYS = {CLOUD.key_id: CLOUD.public_key}
KEYS_PEM = public_pem(SIGNER.public_key) + public_pem(CLOUD.public_key)
AT = "2026-11-22T08:30:00.000Z"


async def receipt(journal: Journal, clock: FakeClock) -> None:
    end = journal.end
    said = Receipt(BOX, end.epoch, end.seq, end.head.hex(), rfc3339(clock.wall()), "00" * 16)
    await journal.settle(said, sign(CLOUD, RECEIPT_TYPE, said))


async def a_sold_journal(folder: Path) -> Path:
    """60 sales, of which 40 were pruned, 10 more receipted; 92 events in all."""
    clock = FakeClock()
    async with a_journal(folder, clock) as journal:
        sales = a_trading_day(random.Random(1), 60)
        await asyncio.gather(*(journal.append(a_draft(sale)) for sale in sales[:40]))
        await receipt(journal, clock)
        clock.jump_wall(timedelta(days=36))
        for sale in sales[40:50]:
            await journal.append(a_draft(sale))
        await receipt(journal, clock)
        for sale in sales[50:]:
            await journal.append(a_draft(sale))
        while await journal.prune(clock.wall() - timedelta(days=35), 7):
            pass
        await journal.append(a_note(1))
    return folder / "journal.db"


def exported(journal: Path, folder: Path) -> ExportNote:
    return export_to_folder(journal, folder, box=BOX, at=AT, keys=PublicKeys(KEYS_PEM))


def verified(folder: Path) -> Finding:
    return verify_export(folder, BOX, KEYS, CLOUD_KEYS, lambda events: None)


def test_an_export_verifies_with_the_same_counts_as_its_journal(tmp_path: Path) -> None:
    journal = asyncio.run(a_sold_journal(tmp_path))

    note = exported(journal, tmp_path / "out")

    finding = verified(tmp_path / "out")
    assert note == ExportNote(epoch=1, seq=62, events=21)
    assert finding.fault is None
    assert finding.sales == 20
    from_file = verify_journal(journal, BOX, KEYS, lambda events: None, cloud_keys=CLOUD_KEYS)
    assert from_file.fault is None
    assert (finding.events, finding.epochs, finding.heads, finding.pruned) == (
        (from_file.events, from_file.epochs, from_file.heads, from_file.pruned)
    )
    assert finding.pruned == 41


async def test_a_running_box_exports_what_it_had_at_one_moment(tmp_path: Path) -> None:
    async with a_journal(tmp_path) as journal:
        await journal.append(a_note(1))

        note = await asyncio.to_thread(exported, tmp_path / "journal.db", tmp_path / "out")
        await journal.append(a_note(2))

    assert note.events == 2
    finding = await asyncio.to_thread(verified, tmp_path / "out")
    assert finding.fault is None


def test_the_stream_is_a_tar_of_the_very_same_files(tmp_path: Path) -> None:
    journal, out = asyncio.run(a_sold_journal(tmp_path)), io.BytesIO()
    exported(journal, tmp_path / "out")

    export_to_stream(journal, out, box=BOX, at=AT, keys=PublicKeys(KEYS_PEM))

    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        streamed = {name: tar.extractfile(name) for name in tar.getnames()}
        assert {name: file.read() for name, file in streamed.items() if file} == {
            path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()
        }


def test_nothing_is_written_over(tmp_path: Path) -> None:
    journal = asyncio.run(a_sold_journal(tmp_path))
    exported(journal, tmp_path / "out")

    with pytest.raises(ConfigError):
        exported(journal, tmp_path / "out")


Lines = list[bytes]


def damage(name: str, change: Callable[[Lines], Lines]) -> Callable[[Path], object]:
    def do(folder: Path) -> object:
        path = folder / name
        return path.write_bytes(b"".join(line + b"\n" for line in change(path.read_bytes().splitlines())))

    return do


def in_line(number: int, old: bytes, new: bytes) -> Callable[[Lines], Lines]:
    def change(lines: Lines) -> Lines:
        assert old in lines[number]
        return [line.replace(old, new) if index == number else line for index, line in enumerate(lines)]

    return change


def forget_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def count_one_more(folder: Path) -> None:
    manifest = msgspec.json.decode((folder / "manifest.json").read_bytes())
    (folder / "manifest.json").write_bytes(msgspec.json.encode({**manifest, "receipts": 2}))


@pytest.mark.parametrize(
    ("fault", "seq", "code"),
    [
        (damage("events.jsonl", in_line(5, b'"total_minor":', b'"total_minor":1')), 47, "altered"),
        (damage("events.jsonl", lambda lines: [*lines[:5], *lines[6:]]), 48, "gap"),
        (damage("events.jsonl", lambda lines: [*lines[:5], lines[6], lines[5], *lines[7:]]), 48, "gap"),
        (damage("events.jsonl", lambda lines: [*lines[:6], *lines[5:]]), 47, "fork"),
        (damage("events.jsonl", lambda lines: lines[1:]), 43, "gap"),
        (damage("events.jsonl", lambda lines: lines[:-1]), 62, "truncated"),
        (damage("events.jsonl", lambda lines: [*lines[:3], b"{}", *lines[4:]]), 45, "bad-event"),
        (damage("heads.jsonl", lambda lines: lines[:-1]), 62, "unsigned-tail"),
        (damage("heads.jsonl", in_line(-1 + 22, b'"sig":"', b'"sig":"A')), 62, "bad-signature"),
        (damage("anchors.jsonl", lambda lines: []), 42, "gap"),
        (damage("anchors.jsonl", in_line(0, b'"sig":"', b'"sig":"A')), 0, "bad-signature"),
        (damage("receipts.jsonl", lambda lines: []), 41, "unreceipted"),
        (damage("receipts.jsonl", in_line(0, b'"sig":"', b'"sig":"A')), 0, "bad-signature"),
        (forget_manifest, 0, "unreadable"),
        (count_one_more, 62, "incomplete"),
    ],
)
def test_every_planted_fault_is_named(
    tmp_path: Path, fault: Callable[[Path], object], seq: int, code: str
) -> None:
    exported(asyncio.run(a_sold_journal(tmp_path)), tmp_path / "out")
    fault(tmp_path / "out")

    found = verified(tmp_path / "out").fault

    assert found is not None
    assert (found.code, found.seq) == (code, seq)


def test_a_journal_that_lost_what_the_cloud_receipted_is_truncated(tmp_path: Path) -> None:
    journal = asyncio.run(a_sold_journal(tmp_path))
    with sqlite3.connect(journal) as connection:
        connection.execute("DELETE FROM event WHERE place & 0xff > 45")
        connection.execute("DELETE FROM head WHERE place & 0xff > 45")
    connection.close()

    fault = verify_journal(journal, BOX, KEYS, lambda events: None, cloud_keys=CLOUD_KEYS).fault

    assert fault is not None
    assert (fault.seq, fault.code) == (51, "truncated")

"""The archive for whoever helps: it tells what a box is like, and neither what it sold nor what it keeps secret."""

import asyncio
import io
import tarfile
from pathlib import Path

from appliance.services.diagnostics import BLOT, Sheet, blotted, events_sheet, state_sheet, write_archive
from tests.fakes.journals import a_draft, a_journal
from tests.fakes.sales import a_sale


async def test_technical_events_are_told_and_sales_are_not(tmp_path: Path) -> None:
    async with a_journal(tmp_path) as journal:
        await journal.append(a_draft(a_sale()))
        await journal.record("clock_stepped", {"by_s": 61})

        sheet = await asyncio.to_thread(events_sheet, tmp_path / "journal.db")

    told = sheet.data.splitlines()
    assert [b'"kind":"epoch_opened"' in told[0], b'"kind":"clock_stepped"' in told[1]] == [True, True]
    assert len(told) == 2


def test_a_journal_that_cannot_be_read_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"rotten" * 1_000)

    assert b"unreadable" in events_sheet(tmp_path / "journal.db").data
    assert events_sheet(tmp_path / "missing.db").data == b""


def test_files_are_named_and_not_copied(tmp_path: Path) -> None:
    (tmp_path / "box-key.pem").write_bytes(b"precious")

    told = state_sheet(tmp_path).data

    assert b"box-key.pem" in told
    assert b"precious" not in told


def test_what_looks_like_a_secret_is_blotted_out_also_in_a_log() -> None:
    key = b"-----BEGIN " + b"PRIVATE KEY-----\nMC4CAQAwBQYD\n-----END PRIVATE KEY-----"
    secrets = [key, key[:40], b"sbc1." + b"e" * 40, b"storebox:pair?v=1&s=" + b"a" * 22, b"t" * 64]
    packed = io.BytesIO()
    lines = b"".join(b"Authorization: Bearer " * (one == secrets[-1]) + one + b" seen\n" for one in secrets)

    write_archive([Sheet("log.txt", lines)], packed, at_s=0)

    packed.seek(0)
    with tarfile.open(fileobj=packed) as archive:
        [entry] = archive.getmembers()
        file = archive.extractfile(entry)
        assert file is not None
        told = file.read()
    assert not [one for one in secrets if one in told]
    assert BLOT in told
    assert blotted(b"sale.accepted seq 4 head 9f3c") == b"sale.accepted seq 4 head 9f3c"

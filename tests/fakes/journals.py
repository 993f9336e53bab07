"""Journals on a real disk, and what to put into them."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.domain.canonical import canonical
from appliance.domain.dsse import Signer
from appliance.domain.identity import box_id
from appliance.domain.sale import Sale
from appliance.domain.statements import Keys
from appliance.runtime.clock import Clock
from appliance.storage import journal_tables as tables
from appliance.storage.commit import Draft, Sealer
from appliance.storage.journal import Journal, open_journal
from tests.fakes.clock import FakeClock

# One key for all tests: its box id is stable, so failures read the same from run to run.
SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
BOX = box_id(SIGNER.public_key)
KEYS: Keys = {SIGNER.key_id: SIGNER.public_key}


def a_sealer(clock: Clock | None = None) -> Sealer:
    """This test's box."""
    return Sealer(BOX, SIGNER, clock or FakeClock())


def a_draft(sale: Sale) -> Draft:
    """A sale as selling hands it to the journal."""
    body = sale.encode()
    return Draft("sale", b'{"flags":[],"sale":%b}' % body, sale.till_id, sale.key, body)


def a_note(number: int) -> Draft:
    """An event of the technical log."""
    return Draft("noted", canonical({"number": number}))


def change_event(path: Path, place: int, old: bytes, new: bytes) -> None:
    """Change an event in a journal's file that nobody has open, as a bad card or a bad person does. Blocks."""
    with closing(sqlite3.connect(path)) as connection, connection:
        body = tables.body_at(connection, place)
        assert body is not None
        assert old in body
        connection.execute("UPDATE event SET body = ? WHERE place = ?", (body.replace(old, new, 1), place))


@asynccontextmanager
async def a_journal(folder: Path, clock: Clock | None = None) -> AsyncIterator[Journal]:
    """The journal in this folder, opened as the daemon opens it."""
    async with open_journal(folder / "journal.db", a_sealer(clock)) as journal:
        yield journal

"""Rotating the event key: told in the chain under the old key, then a new epoch under the new one.

What is on disk in which order, and how a power cut is mended: gateways/keyring.py.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec

from appliance.domain import event as chain
from appliance.domain.dsse import read_envelope
from appliance.domain.errors import BadEvent
from appliance.domain.keychain import Keychain, Rotation
from appliance.runtime.database import open_reader
from appliance.services.witness import open_epoch
from appliance.storage import journal_tables as tables
from appliance.storage.headfile import HeadFile
from appliance.storage.journal import Journal

KEY_ROTATED, REASON = "key_rotated", "key-rotated"


def last_rotation(path: Path) -> Rotation | None:
    """The rotation that a journal's last event tells of; None when it tells of another thing. Blocks."""
    if not path.exists():
        return None
    try:
        with closing(open_reader(path)) as reader:
            last = tables.last_place(reader)
            body = None if last is None else tables.body_at(reader, last)
        if body is None or chain.read(body).link.kind != KEY_ROTATED:
            return None
        return msgspec.json.decode(chain.content(body).data, type=Rotation)
    except (sqlite3.Error, BadEvent, msgspec.DecodeError):
        # A journal that cannot be read is set aside at the start, and did not record it.
        return None


async def follow_key(journal: Journal, head_file: HeadFile, keychain: Keychain) -> None:
    """Open the epoch of a new key when the journal still ends under one before it."""
    envelope = journal.signed_head()
    if envelope is not None and read_envelope(envelope).signatures[0].keyid in keychain.retired:
        await open_epoch(journal, head_file, REASON)

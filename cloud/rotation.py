"""A box changes its event key: head office adopts the new one in the transaction that stores the event saying so.

What the old key signed before stays proven by it, and heads of the epochs that it opened are still taken. It opens no
new epoch: who stole it gains nothing that the box has not told yet.
"""

import logging

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from appliance.domain import event
from appliance.domain.dsse import spki_fingerprint
from appliance.domain.errors import BadEvent, BadSignature, NotAllowed
from appliance.domain.event import Sealed
from appliance.domain.keychain import Rotation, keys_after
from appliance.domain.statements import Keys
from appliance.runtime.keyfile import public_pem, read_public_pem
from cloud import audit, store_boxes, store_exceptions, store_identity
from cloud.database import Database
from cloud.store_identity import KeyRow

log = logging.getLogger(__name__)

EVENT_KIND = "key_rotated"
# Canonical JSON has no blanks: an event without these bytes is of another kind, and need not be read whole.
_MARK = f'"kind":"{EVENT_KIND}"'.encode()


async def keys_of(database: Database, box: str) -> Keys:
    """Every event key that a box had. Raises NotAllowed for a box that is not known."""
    async with database.reading() as connection:
        rows = await _keys(connection, box)
    keys = [read_public_pem(row.public_key) for row in rows]
    return {spki_fingerprint(key): key for key in keys}


async def current_key(database: Database, box: str) -> Keys:
    """The one that signs now. Raises NotAllowed for a box that is not known."""
    async with database.reading() as connection:
        row = (await _keys(connection, box))[-1]
    return {row.fp: read_public_pem(row.public_key)}


async def check_opener(connection: AsyncConnection, box: str, epoch: int, key_id: str) -> None:
    """Raises BadSignature when the key that opens an epoch was retired before it."""
    for row in await store_identity.rotated_keys(connection, box):
        if row.fp == key_id and row.retired_epoch is not None and epoch > row.retired_epoch:
            raise BadSignature(f"{box} retired this key in epoch {row.retired_epoch}: it opens no new one")


async def adopt(connection: AsyncConnection, box: str, fresh: list[Sealed], at: str) -> None:
    """Take over the key of each rotation among new events; one that does not hold is noted, and changes nothing."""
    for sealed in fresh:
        if _MARK not in sealed.body:
            continue
        try:
            found = event.content(sealed.body)
            if found.kind == EVENT_KIND:
                await _adopt(connection, box, sealed, msgspec.json.decode(found.data, type=Rotation), at)
        except (BadEvent, BadSignature, msgspec.DecodeError) as error:
            await store_exceptions.add(connection, [_note(box, sealed, str(error), at)])


async def _adopt(connection: AsyncConnection, box: str, sealed: Sealed, rotation: Rotation, at: str) -> None:
    rows = await _keys(connection, box)
    last, epoch = rows[-1], sealed.link.epoch
    chain = keys_after(box, [rotation], read_public_pem(last.public_key))
    if not chain.retired:
        return  # it leads to the key that is known: the box told of it before
    if await store_identity.owner_of_key(connection, fp := spki_fingerprint(chain.current)) is not None:
        raise BadSignature("the new key was another one's, or this box's, before")
    if last.number == 0:
        await store_identity.add_key(connection, box, last)
    await store_identity.retire_key(connection, box, last.number, epoch)
    await store_identity.add_key(
        connection, box, KeyRow(last.number + 1, fp, public_pem(chain.current), None)
    )
    data = {"epoch": epoch, "seq": sealed.link.seq, "old": last.fp, "new": fp}
    await audit.note(connection, f"box {box}", "key-rotated", box, data, at=at)
    log.info("box.key_rotated", extra={"box": box, "epoch": epoch, "seq": sealed.link.seq})


async def _keys(connection: AsyncConnection, box: str) -> list[KeyRow]:
    """The keys of a box in their order, never empty."""
    rows = await store_identity.rotated_keys(connection, box)
    if rows:
        return rows
    pem = await store_boxes.public_key(connection, box)
    if pem is None:
        raise NotAllowed(f"{box} is not enrolled here")
    return [KeyRow(0, spki_fingerprint(read_public_pem(pem)), pem, None)]


def _note(box: str, sealed: Sealed, detail: str, at: str) -> store_exceptions.Note:
    place = sealed.link
    return store_exceptions.Note(
        reason="bad-rotation",
        subject=f"{box}/{place.epoch}/{place.seq}",
        at=at,
        box=box,
        epoch=place.epoch,
        seq=place.seq,
        detail=detail,
    )

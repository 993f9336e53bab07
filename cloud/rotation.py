"""A box changes its event key: head office adopts the new one in the transaction that stores the event saying so.

The event is `key_rotated`, the last one under the old key. Where its journal was lost before it came here, the first
event of the next epoch tells all rotations again, under the new key. What the old key signed before stays proven by
it, and a rescue may still bring more of earlier epochs. It signs nothing new in the epoch that told of it, nor in a
later one: who stole it gains nothing that the box has not told yet.
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

EVENT_KIND, OPENING_KIND = "key_rotated", "epoch_opened"
# Canonical JSON has no blanks: an event without these bytes is of another kind, and need not be read whole.
_ROTATED, _OPENED = (f'"kind":"{kind}"'.encode() for kind in (EVENT_KIND, OPENING_KIND))


class _Opening(msgspec.Struct, frozen=True):
    rotations: list[Rotation] = []


async def keys_of(database: Database, box: str) -> Keys:
    """Every event key that a box had, in their order. Raises NotAllowed for a box that is not known."""
    async with database.reading() as connection:
        rows = await _keys(connection, box)
    keys = [read_public_pem(row.public_key) for row in rows]
    return {spki_fingerprint(key): key for key in keys}


async def current_key(database: Database, box: str) -> Keys:
    """The one that signs now. Raises NotAllowed for a box that is not known."""
    async with database.reading() as connection:
        row = (await _keys(connection, box))[-1]
    return {row.fp: read_public_pem(row.public_key)}


def keys_told(box: str, first: Sealed, keys: Keys) -> Keys:
    """`keys` (in their order), and those to which the opening of an epoch leads on from the last of them.

    Raises BadSignature when what the event tells does not lead on.
    """
    try:
        told = _told(first)
    except msgspec.DecodeError as error:
        raise BadSignature(f"the rotations cannot be read: {error}") from error
    return {**keys, **keys_after(box, told, list(keys.values())[-1]).keys}


async def check_signer(connection: AsyncConnection, box: str, epoch: int, key_id: str) -> None:
    """Raises BadSignature when the key that signs new events of an epoch was retired in it, or before."""
    for row in await store_identity.rotated_keys(connection, box):
        if row.fp == key_id and row.retired_epoch is not None and epoch >= row.retired_epoch:
            raise BadSignature(
                f"{box} retired this key in epoch {row.retired_epoch}: it signs nothing new there"
            )


async def adopt(connection: AsyncConnection, box: str, fresh: list[Sealed], key_id: str, at: str) -> None:
    """Take over the keys that new events tell of; what does not hold is noted, and changes nothing.

    Raises BadSignature when the head over them (`key_id`) is of no key of the box afterwards, or of one that was
    retired by an event that others follow.
    """
    for sealed in fresh:
        try:
            told = _told(sealed)
            if told:
                await _adopt(connection, box, sealed, told, at)
        except (BadEvent, BadSignature, msgspec.DecodeError) as error:
            await store_exceptions.add(connection, [_note(box, sealed, str(error), at)])
        else:
            if told and sealed is not fresh[-1]:
                await check_signer(connection, box, sealed.link.epoch, key_id)
    if fresh[0].link.seq == 1 and key_id not in {row.fp for row in await _keys(connection, box)}:
        raise BadSignature(f"{box} has not come to this key")


def _told(sealed: Sealed) -> list[Rotation]:
    """The rotations that an event tells of, believed by nobody yet. Raises BadEvent, msgspec.DecodeError."""
    if _ROTATED in sealed.body:
        found = event.content(sealed.body)
        if found.kind == EVENT_KIND:
            return [msgspec.json.decode(found.data, type=Rotation)]
    if sealed.link.seq == 1 and _OPENED in sealed.body:
        found = event.content(sealed.body)
        if found.kind == OPENING_KIND:
            return msgspec.json.decode(found.data, type=_Opening).rotations
    return []


async def _adopt(
    connection: AsyncConnection, box: str, sealed: Sealed, rotations: list[Rotation], at: str
) -> None:
    rows = await _keys(connection, box)
    known, last, epoch = {row.fp for row in rows}, rows[-1], sealed.link.epoch
    if all(rotation.by_new.signatures[0].keyid in known for rotation in rotations):
        return  # the box told of them before
    chain = keys_after(box, rotations, read_public_pem(last.public_key))
    new = {fp: key for fp, key in chain.keys.items() if fp != last.fp}
    for fp in new:
        if await store_identity.owner_of_key(connection, fp) is not None:
            raise BadSignature("the new key was another one's, or this box's, before")
    if last.number == 0:
        await store_identity.add_key(connection, box, last)
    for number, (fp, key) in enumerate(new.items(), start=last.number + 1):
        await store_identity.retire_key(connection, box, number - 1, epoch)
        await store_identity.add_key(connection, box, KeyRow(number, fp, public_pem(key), None))
    data = {"epoch": epoch, "seq": sealed.link.seq, "old": last.fp, "new": spki_fingerprint(chain.current)}
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

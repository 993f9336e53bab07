"""Put a box in a dead one's place: one signed statement by which its tills move over, and the end of the old one.

Runs inside the transaction that enrols the new box, so that there is never a moment with two boxes of the shop's, or
with none.
"""

from sqlalchemy.ext.asyncio import AsyncConnection

from appliance.domain.dsse import Envelope, Signer, read_envelope
from appliance.domain.errors import ClaimRefused
from appliance.domain.keychain import Succession
from appliance.domain.pairing import TillRecord
from appliance.domain.statements import SUCCESSION_TYPE, sign
from cloud import store_boxes, store_office


async def succeed(
    connection: AsyncConnection, signer: Signer, statement: Succession
) -> tuple[list[TillRecord], Envelope]:
    """Let `statement.new` follow `statement.old`: the old one is revoked, its tills are the new one's.

    The tills that the new box is to know, and the statement, signed. The same two boxes again get the same answer.
    Raises ClaimRefused when the old box is not known, is of another shop, is the new one itself, or when another box
    took its place already.
    """
    old, new = statement.old, statement.new
    if old == new or await store_boxes.shop_of(connection, old) != statement.shop:
        raise ClaimRefused(f"{old} cannot be followed by this box")
    followed = await store_office.find_succession(connection, old)
    if followed is not None and followed.new != new:
        raise ClaimRefused(f"{old} was followed by another box already")
    tills = await store_office.tills_of(connection, old)
    if followed is not None:
        return tills, read_envelope(followed.envelope)
    envelope = sign(signer, SUCCESSION_TYPE, statement)
    await store_office.add_succession(connection, old, new, envelope)
    await store_office.revoke(connection, old, f"replaced by {new}", statement.at)
    await store_office.put_tills(connection, new, tills)
    return tills, read_envelope(envelope)


async def shown_by(connection: AsyncConnection, box: str) -> Envelope | None:
    """The statement by which another box took this one's place, if one did."""
    followed = await store_office.find_succession(connection, box)
    return None if followed is None else read_envelope(followed.envelope)

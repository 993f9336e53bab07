"""Let a new box in: a single-use token from head office, and proof that the box has the key it names."""

import base64
import binascii
import logging
from datetime import timedelta

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy.ext.asyncio import AsyncConnection

from appliance.domain import statements
from appliance.domain.dsse import Envelope, Signer, spki_fingerprint
from appliance.domain.errors import ConfigError, Malformed, NotAllowed
from appliance.domain.identity import box_id
from appliance.domain.statements import ENROLMENT_TYPE, Keys
from appliance.domain.wire import EnrolAnswer, EnrolRequest
from appliance.runtime.clock import Clock, rfc3339
from appliance.runtime.keyfile import public_pem, read_public_pem
from cloud import auth, store_boxes
from cloud.database import Database
from cloud.policy import PolicyDesk
from cloud.store_boxes import Holder, Ticket

log = logging.getLogger(__name__)

_envelopes = msgspec.json.Decoder(Envelope)
_requests = msgspec.json.Decoder(EnrolRequest)


class Enrolment:
    """Hands out enrolment tokens, and turns one token into one box."""

    def __init__(self, database: Database, signer: Signer, policy: PolicyDesk, clock: Clock) -> None:
        self._database = database
        self._signer = signer
        self._policy = policy
        self._clock = clock

    async def new_token(self, shop: str, name: str, minutes: int) -> str:
        """A token that lets one box into a shop, for some minutes."""
        token = auth.new_token()
        expires_at = rfc3339(self._clock.wall() + timedelta(minutes=minutes))

        async def work(connection: AsyncConnection) -> None:
            await store_boxes.name_shop(connection, shop, name)
            await store_boxes.add_ticket(connection, auth.token_digest(token), shop, expires_at)

        await self._database.transaction(work)
        return token

    async def enrol(self, envelope: bytes) -> EnrolAnswer:
        """Enrol the box that signed this. The same key may ask again with the same token: its first answer got lost.

        Each answer brings a new box token, and the one before is no longer taken. Raises Malformed, BadSignature
        (no proof of the key), NotAllowed (the token is unknown, expired, or used by another key).
        """
        request, key = _proven(envelope)
        name, box_token = box_id(key), auth.new_token()
        ticket = await self._database.transaction(
            _enrol, request.token, name, public_pem(key), box_token, rfc3339(self._clock.wall())
        )
        log.info("box.enrolled", extra={"box": name, "shop": ticket.shop})
        return EnrolAnswer(
            box=name,
            shop=ticket.shop,
            shop_name=ticket.shop_name,
            box_token=box_token,
            cloud_keys=[public_pem(self._signer.public_key)],
            policy=msgspec.Raw(await self._policy.envelope()),
        )


async def keys_of(database: Database, box: str) -> Keys:
    """The key that a box enrolled with. Raises NotAllowed for a box that is not known."""
    async with database.reading() as connection:
        pem = await store_boxes.public_key(connection, box)
    if pem is None:
        raise NotAllowed(f"{box} is not enrolled here")
    key = read_public_pem(pem)
    return {spki_fingerprint(key): key}


async def _enrol(
    connection: AsyncConnection, token: str, name: str, pem: str, box_token: str, now: str
) -> Ticket:
    digest = auth.token_digest(token)
    ticket = await store_boxes.find_ticket(connection, digest)
    if ticket is None:
        raise NotAllowed("the enrolment token is not known")
    if ticket.used_by not in (None, name):
        raise NotAllowed("the enrolment token was used by another box")
    if ticket.used_by is None and ticket.expires_at <= now:
        raise NotAllowed("the enrolment token has expired")
    await store_boxes.use_ticket(connection, digest, name)
    await store_boxes.put_box(connection, name, ticket.shop, pem, now)
    await store_boxes.put_credential(
        connection, Holder("box", ticket.shop, name, auth.token_digest(box_token))
    )
    return ticket


def _proven(envelope: bytes) -> tuple[EnrolRequest, Ed25519PublicKey]:
    """The request and the key that it names and that signed it: only then is any of it believed."""
    try:
        unproven = _requests.decode(base64.b64decode(_envelopes.decode(envelope).payload, validate=True))
        key = read_public_pem(unproven.public_key)
    except (msgspec.DecodeError, binascii.Error, UnicodeError, ValueError, ConfigError) as error:
        raise Malformed(f"not a signed enrolment: {error}") from error
    return statements.verify(envelope, ENROLMENT_TYPE, EnrolRequest, {spki_fingerprint(key): key}), key

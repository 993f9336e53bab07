"""Let a new box in: a single-use claim from head office, and proof that the box has the key it names."""

import asyncio
import base64
import binascii
import logging
import secrets
from collections.abc import Callable
from datetime import timedelta

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy.ext.asyncio import AsyncConnection

from appliance.domain import statements
from appliance.domain.dsse import Envelope, Signer, read_envelope, spki_fingerprint
from appliance.domain.enrolling import ClaimAnswer, EnrolAnswer, EnrolRequest, claim_text
from appliance.domain.errors import ClaimRefused, ConfigError, Malformed, NotAllowed
from appliance.domain.identity import box_id
from appliance.domain.statements import ENROLMENT_TYPE, PROBE_TYPE, Keys, ProbeAnswer
from appliance.runtime.clock import Clock, rfc3339
from appliance.runtime.keyfile import public_pem, read_public_pem
from cloud import auth, store_boxes
from cloud.database import Database
from cloud.policy import PolicyDesk
from cloud.store_boxes import Holder, Ticket

log = logging.getLogger(__name__)

# 128 bits: nobody guesses one within its ten minutes.
CLAIM_BYTES = 16

_envelopes = msgspec.json.Decoder(Envelope)
_requests = msgspec.json.Decoder(EnrolRequest)


class Enrolment:
    """Hands out claims, and turns one claim into one box. `url` tells where boxes reach head office; it may block."""

    def __init__(
        self, database: Database, signer: Signer, policy: PolicyDesk, clock: Clock, url: Callable[[], str]
    ) -> None:
        self._database = database
        self._url = url
        self._signer = signer
        self._policy = policy
        self._clock = clock

    async def new_claim(
        self, shop: str, name: str, minutes: int, *, key_hash: str = "", replaces: str = "", by: str
    ) -> ClaimAnswer:
        """A claim that lets one box into a shop, for some minutes; only the one with this key, if said.

        `by` is who asked. Raises ConfigError when nobody knows where head office is reached.
        """
        url = await asyncio.to_thread(self._url)
        secret = secrets.token_hex(CLAIM_BYTES)
        expires_at = rfc3339(self._clock.wall() + timedelta(minutes=minutes))
        digest = auth.token_digest(secret)

        async def work(connection: AsyncConnection) -> None:
            await store_boxes.name_shop(connection, shop, name or shop)
            await store_boxes.add_ticket(connection, digest, shop, expires_at, key_hash, replaces)

        await self._database.transaction(work)
        log.info("claim.made", extra={"shop": shop, "by": by, "replaces": replaces})
        return ClaimAnswer(claim_text(url, "", secret, shop), shop, expires_at)

    async def enrol(self, envelope: bytes) -> EnrolAnswer:
        """Enrol the box that signed this. The same key may ask again with the same claim: its first answer got lost.

        Each answer brings a new box token, and the one before is no longer taken. Raises Malformed, BadSignature
        (no proof of the key), ClaimRefused (the claim is unknown, expired, used by another key or bound to one).
        """
        request, key = _proven(envelope)
        name, box_token = box_id(key), auth.new_token()
        ticket = await self._database.transaction(
            _enrol, request.claim, name, key, box_token, rfc3339(self._clock.wall())
        )
        heard = ProbeAnswer(box=name, nonce=request.nonce, at=rfc3339(self._clock.wall()))
        log.info("box.enrolled", extra={"box": name, "shop": ticket.shop})
        return EnrolAnswer(
            box=name,
            shop=ticket.shop,
            shop_name=ticket.shop_name,
            box_token=box_token,
            cloud_keys=[public_pem(self._signer.public_key)],
            policy=msgspec.Raw(await self._policy.envelope()),
            time=read_envelope(statements.sign(self._signer, PROBE_TYPE, heard)),
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
    connection: AsyncConnection, claim: str, name: str, key: Ed25519PublicKey, box_token: str, now: str
) -> Ticket:
    digest = auth.token_digest(claim)
    ticket = await store_boxes.find_ticket(connection, digest)
    if ticket is None:
        raise ClaimRefused("the claim is not known")
    if ticket.used_by not in (None, name):
        raise ClaimRefused("the claim was used by another box")
    if ticket.used_by is None and ticket.expires_at <= now:
        raise ClaimRefused("the claim has expired")
    if ticket.key_hash not in ("", spki_fingerprint(key)):
        raise ClaimRefused("the claim is bound to another box")
    await store_boxes.use_ticket(connection, digest, name, now)
    await store_boxes.put_box(connection, name, ticket.shop, public_pem(key), now)
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

"""A box renews its certificates on proof of its event key alone: also after they have ended, and behind any proxy."""

import logging
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from appliance.domain import statements
from appliance.domain.dsse import Signer, spki_fingerprint
from appliance.domain.enrolling import RenewAnswer, RenewRequest
from appliance.domain.errors import BoxRevoked, NotAllowed
from appliance.domain.keychain import keys_after
from appliance.domain.statements import RENEWAL_TYPE
from appliance.runtime.clock import Clock, rfc3339
from cloud import audit, rotation, store_identity
from cloud.authority import Authority
from cloud.certifying import Asked, Given, certify, given_lately, read_asked
from cloud.database import Database
from cloud.proofs import heard, unproven

log = logging.getLogger(__name__)


class Renewal:
    """The desk where boxes come with certificates that are old, or over."""

    def __init__(self, database: Database, signer: Signer, clock: Clock, authority: Authority) -> None:
        self._database = database
        self._signer = signer
        self._clock = clock
        self._authority = authority

    async def renew(self, envelope: bytes) -> RenewAnswer:
        """New certificates for the box whose event key signed this. Sent again, it is answered the same for an hour.

        A replayed request gives its sender nothing: the certificates are of the box's own keys.
        Raises Malformed, BadSignature, NotAllowed (a box that is not known), BoxRevoked.
        """
        claimed = unproven(envelope, RenewRequest)
        believed = await rotation.current_key(self._database, claimed.box)
        (key,) = believed.values()
        current = keys_after(claimed.box, claimed.rotations, key).current
        request = statements.verify(
            envelope, RENEWAL_TYPE, RenewRequest, {spki_fingerprint(current): current}
        )
        asked = read_asked(request.csr, request.lan_csr)
        now = self._clock.wall()
        given = await self._database.transaction(self._certify, request.box, asked, now)
        log.info("box.renewed", extra={"box": request.box})
        return RenewAnswer(
            certificate=given.certificate,
            lan_certificate=given.lan_certificate,
            authority=self._authority.root_pem,
            time=heard(self._signer, request.box, request.nonce, now),
        )

    async def _certify(self, connection: AsyncConnection, name: str, asked: Asked, now: datetime) -> Given:
        box = await store_identity.standing(connection, name)
        if box is None:
            raise NotAllowed(f"{name} is not enrolled here")
        if box.revoked_at is not None:
            raise BoxRevoked(f"{name} was revoked at {box.revoked_at}")
        lately = given_lately(box, asked, now)
        if lately is not None:
            return lately
        given = await certify(connection, self._authority, name, asked)
        data = {"spki": asked.tls.spki}
        await audit.note(connection, f"box {name}", "box-renewed", name, data, at=rfc3339(now))
        return given

"""Let a new box in: a single-use claim from head office, and proof that the box has the keys it names."""

import asyncio
import logging
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy.ext.asyncio import AsyncConnection

from appliance.domain.dsse import Envelope, Signer, spki_fingerprint
from appliance.domain.enrolling import ClaimAnswer, EnrolAnswer, EnrolRequest, claim_text
from appliance.domain.errors import BoxRevoked, ClaimRefused, Malformed, NotAllowed
from appliance.domain.identity import box_id
from appliance.domain.keychain import Succession
from appliance.domain.pairing import TillRecord
from appliance.runtime.clock import Clock, rfc3339
from appliance.runtime.keyfile import public_pem
from cloud import audit, auth, store_boxes, store_identity, swap
from cloud.authority import Authority
from cloud.certifying import Asked, Given, certify, given_before, read_asked
from cloud.database import Database
from cloud.policy import PolicyDesk
from cloud.proofs import heard, proven
from cloud.store_boxes import Holder, Ticket

log = logging.getLogger(__name__)

# 128 bits: nobody guesses one within its ten minutes.
CLAIM_BYTES = 16
# So long the box that used a claim may ask for its answer again.
ANSWERED_AGAIN = timedelta(hours=24)


class Access(NamedTuple):
    """How boxes come to head office: at which URL (asking may block), under the root with which pin (empty: one of the
    system's store), and whether with tokens instead of certificates.
    """

    url: Callable[[], str]
    pin: str
    box_tokens: bool


class Entered(NamedTuple):
    """A box that is in."""

    box: str
    ticket: Ticket
    token: str
    given: Given | None
    tills: list[TillRecord]
    succession: Envelope | None


class Enrolment:
    """Hands out claims, and turns one claim into one box."""

    def __init__(
        self,
        database: Database,
        signer: Signer,
        policy: PolicyDesk,
        clock: Clock,
        authority: Authority,
        access: Access,
    ) -> None:
        self._database = database
        self._signer = signer
        self._policy = policy
        self._clock = clock
        self._authority = authority
        self._access = access

    async def new_claim(
        self, shop: str, name: str, minutes: int, *, key_hash: str = "", replaces: str = "", by: str
    ) -> ClaimAnswer:
        """A claim that lets one box into a shop, for some minutes; only the one with this key, if said.

        `by` is who asked; `name` empty: the shop keeps the name it has. Raises ConfigError when nobody knows where
        head office is reached.
        """
        url = await asyncio.to_thread(self._access.url)
        secret = secrets.token_hex(CLAIM_BYTES)
        now = self._clock.wall()
        expires_at = rfc3339(now + timedelta(minutes=minutes))
        digest = auth.token_digest(secret)

        async def work(connection: AsyncConnection) -> None:
            await store_boxes.name_shop(connection, shop, name)
            await store_boxes.add_ticket(connection, digest, shop, expires_at, key_hash, replaces)
            data = {"shop": shop, "key_hash": key_hash, "replaces": replaces, "until": expires_at}
            await audit.note(connection, by, "claim-made", _name_of(digest), data, at=rfc3339(now))

        await self._database.transaction(work)
        log.info("claim.made", extra={"shop": shop, "by": by, "replaces": replaces})
        # A head office that runs without TLS (a desk) has nothing to pin, whatever its settings file says.
        pin = self._access.pin if url.startswith("https:") else ""
        return ClaimAnswer(claim_text(url, pin, secret, shop), shop, expires_at)

    async def enrol(self, envelope: bytes) -> EnrolAnswer:
        """Enrol the box that signed this. The same key may ask again with the same claim: its first answer got lost.

        Raises Malformed, BadSignature (no proof of the key), BoxRevoked, ClaimRefused (the claim is unknown, expired,
        used by another key or long ago, or bound to another key).
        """
        request, key = proven(envelope)
        asked = read_asked(request.csr, request.lan_csr) if request.csr or request.lan_csr else None
        if asked is None and not self._access.box_tokens:
            raise Malformed("a box must send two certificate requests")
        now = self._clock.wall()
        try:
            entered = await self._database.transaction(self._enter, request, key, asked, now)
        except ClaimRefused as refusal:
            await self._note_refusal(request.claim, spki_fingerprint(key), str(refusal))
            raise
        log.info("box.enrolled", extra={"box": entered.box, "shop": entered.ticket.shop})
        return EnrolAnswer(
            box=entered.box,
            shop=entered.ticket.shop,
            shop_name=entered.ticket.shop_name,
            box_token=entered.token,
            cloud_keys=[public_pem(self._signer.public_key)],
            policy=msgspec.Raw(await self._policy.envelope()),
            certificate="" if entered.given is None else entered.given.certificate,
            lan_certificate="" if entered.given is None else entered.given.lan_certificate,
            authority="" if entered.given is None else self._authority.root_pem,
            time=heard(self._signer, entered.box, request.nonce, now),
            tills=entered.tills,
            succession=entered.succession,
        )

    async def _enter(
        self,
        connection: AsyncConnection,
        request: EnrolRequest,
        key: Ed25519PublicKey,
        asked: Asked | None,
        now: datetime,
    ) -> Entered:
        """One transaction: claim, box, certificates or token, whose place it takes, audit."""
        name, at = await _name_of_box(connection, key), rfc3339(now)
        digest = auth.token_digest(request.claim)
        ticket = _usable(await store_boxes.find_ticket(connection, digest), name, spki_fingerprint(key), now)
        before = await store_identity.standing(connection, name)
        if before is not None and before.revoked_at is not None:
            raise BoxRevoked(f"{name} was revoked at {before.revoked_at}")
        first = ticket.used_by is None
        await store_boxes.use_ticket(connection, digest, name, at)
        await store_boxes.put_box(connection, name, ticket.shop, public_pem(key), at)
        given, token = None, ""
        if asked is not None:
            known = None if before is None or first else given_before(before, asked)
            given = known or await certify(connection, self._authority, name, asked)
        if self._access.box_tokens:
            token = auth.new_token()
            holder = Holder("box", ticket.shop, name, auth.token_digest(token))
            await store_boxes.put_credential(connection, holder)
        tills, succession = await self._succeed(connection, ticket, name, key, asked, at)
        if first:
            who, data = f"box {name}", {"box": name, "shop": ticket.shop}
            await audit.note(connection, who, "claim-used", _name_of(digest), data, at=at)
            await audit.note(connection, who, "box-enrolled", name, {"shop": ticket.shop}, at=at)
            if ticket.replaces:
                await audit.note(connection, who, "box-swapped", ticket.replaces, {"new": name}, at=at)
        return Entered(name, ticket, token, given, tills, succession)

    async def _succeed(
        self,
        connection: AsyncConnection,
        ticket: Ticket,
        name: str,
        key: Ed25519PublicKey,
        asked: Asked | None,
        at: str,
    ) -> tuple[list[TillRecord], Envelope | None]:
        if not ticket.replaces:
            return [], None
        spki = "" if asked is None else asked.tls.spki
        statement = Succession(ticket.replaces, name, spki_fingerprint(key), spki, ticket.shop, at)
        return await swap.succeed(connection, self._signer, statement)

    async def _note_refusal(self, claim: str, fp: str, why: str) -> None:
        """Once for each claim that was ever made; what strangers make up stands in the log alone."""
        log.warning("claim.refused", extra={"fp": fp, "why": why})
        digest, at = auth.token_digest(claim), rfc3339(self._clock.wall())
        async with self._database.reading() as connection:
            if await store_boxes.find_ticket(connection, digest) is None:
                return
        await self._database.transaction(
            audit.note_once, "unknown", "claim-refused", _name_of(digest), {"fp": fp, "why": why}, at=at
        )


def _usable(ticket: Ticket | None, name: str, fp: str, now: datetime) -> Ticket:
    """The claim, if this box may use it now. Raises ClaimRefused."""
    if ticket is None:
        raise ClaimRefused("the claim is not known")
    if ticket.used_by not in (None, name):
        raise ClaimRefused("the claim was used by another box")
    if ticket.used_by is None and ticket.expires_at <= rfc3339(now):
        raise ClaimRefused("the claim has expired")
    if ticket.used_at is not None and ticket.used_at <= rfc3339(now - ANSWERED_AGAIN):
        raise ClaimRefused("the claim was used too long ago to be answered again")
    if ticket.key_hash not in ("", fp):
        raise ClaimRefused("the claim is bound to another box")
    return ticket


async def _name_of_box(connection: AsyncConnection, key: Ed25519PublicKey) -> str:
    """A box keeps the name of its first key. Raises NotAllowed for a key that its box has retired."""
    owned = await store_identity.owner_of_key(connection, spki_fingerprint(key))
    if owned is None:
        return box_id(key)
    box, row = owned
    if row.retired_epoch is not None:
        raise NotAllowed(f"{box} has retired this key")
    return box


def _name_of(claim_sha256: bytes) -> str:
    """By this a claim can be spoken of; nobody gets in with it."""
    return f"claim {claim_sha256.hex()[:12]}"

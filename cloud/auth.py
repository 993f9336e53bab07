"""Who asks: boxes by their certificates; tills, technicians and head office by bearer tokens, kept as SHA-256 only.

Without TLS boxes have bearer tokens, too. Head office may also use HTTP Basic with its token as the password (any user
name), so that a browser shows the pages.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

import msgspec
from aiohttp import hdrs, web
from sqlalchemy.ext.asyncio import AsyncConnection

from appliance.domain.errors import BoxRevoked, CertificateExpired, NotAllowed, Unauthenticated
from appliance.runtime.clock import Clock, rfc3339
from appliance.runtime.files import write_whole
from cloud import audit, store_boxes, store_identity
from cloud.authority import Authority
from cloud.client_cert import ClientCertificates
from cloud.database import Database
from cloud.store_boxes import Holder

Role = Literal["box", "till", "technician", "head-office"]

# 256 random bits: guessing is hopeless, so a plain hash is enough to keep it by.
TOKEN_BYTES = 32
# No token of ours is longer; the rest is not worth hashing.
_CREDENTIAL_MAX = 512


class Caller(msgspec.Struct, frozen=True):
    """Who asks, proven by a token or a certificate. `name` is the box's, the till's or the technician's."""

    role: Role
    shop: str
    name: str


HandlerFor = Callable[[web.Request, Caller], Awaitable[web.StreamResponse]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def new_token() -> str:
    """A fresh token, in hex: it can be read out, and it never looks like a flag."""
    return secrets.token_hex(TOKEN_BYTES)


def token_digest(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).digest()


def head_office_token(path: Path) -> str:
    """Head office's own token; made at the first call, readable by this program's user alone. Blocks."""
    if not path.exists():
        write_whole(path, new_token().encode() + b"\n", mode=0o600)
    return path.read_text().strip()


class Door:
    """Lets callers in. `head_office` is the digest of head office's token; boxes have tokens only if `box_tokens`."""

    def __init__(
        self,
        database: Database,
        head_office: bytes,
        clock: Clock,
        authority: Authority,
        certificates: ClientCertificates,
        *,
        box_tokens: bool,
    ) -> None:
        self._database = database
        self._head_office = head_office
        self._clock = clock
        self._authority = authority
        self._certificates = certificates
        self._box_tokens = box_tokens

    async def caller(self, request: web.Request) -> Caller:
        """Who asks: by its token if it brings one, else by its certificate.

        Raises Unauthenticated when neither is known here, BoxRevoked, CertificateExpired.
        """
        header = request.headers.get(hdrs.AUTHORIZATION)
        if header is None and (shown := self._certificates.shown(request)) is not None:
            return await self._by_certificate(shown)
        token = _token(header or "")
        if token is None:
            raise Unauthenticated("no token in the Authorization header")
        return await self._by_token(token)

    async def _by_certificate(self, shown: bytes) -> Caller:
        known = self._authority.recognise(shown)
        if known is None:
            raise Unauthenticated("the certificate is not one that head office gave to a box")
        async with self._database.reading() as connection:
            box = await store_identity.standing(connection, known.box)
        if box is None or box.tls_spki is None or not hmac.compare_digest(box.tls_spki, known.spki):
            raise Unauthenticated(f"the certificate is not over the key that {known.box} enrolled")
        if box.revoked_at is not None:
            raise BoxRevoked(f"{known.box} was revoked at {box.revoked_at}")
        if known.not_after < self._clock.wall():
            raise CertificateExpired(f"the certificate ended at {rfc3339(known.not_after)}")
        return Caller("box", box.shop, known.box)

    async def _by_token(self, token: str) -> Caller:
        digest = token_digest(token)
        if hmac.compare_digest(digest, self._head_office):
            return Caller("head-office", "", "head-office")
        async with self._database.reading() as connection:
            holder = await store_boxes.find_holder(connection, digest)
            is_box = holder is not None and holder.role == "box"
            box = await store_identity.standing(connection, holder.subject) if holder and is_box else None
        if holder is None or not hmac.compare_digest(holder.token_sha256, digest):
            raise Unauthenticated("the token is not known here")
        if holder.role == "box" and not self._box_tokens:
            raise Unauthenticated("a box shows its certificate here")
        if box is not None and box.revoked_at is not None:
            raise BoxRevoked(f"{holder.subject} was revoked at {box.revoked_at}")
        if holder.expires_at is not None and holder.expires_at <= rfc3339(self._clock.wall()):
            raise Unauthenticated("the token has expired")
        return Caller(msgspec.convert(holder.role, Role), holder.shop, holder.subject)


DOOR = web.AppKey("door", Door)
# Set on requests that a browser may make, so that a refusal lets it ask for the password.
_FOR_PEOPLE = web.RequestKey("for_people", bool)
# Set on requests whose connection shows a certificate that has ended: another one needs another connection.
_MUST_RENEW = web.RequestKey("must_renew", bool)


def only(*roles: Role) -> Callable[[HandlerFor], Handler]:
    """Let only these roles reach a handler; a box or a till named in the path must be the caller itself."""

    def guard(handler: HandlerFor) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            request[_FOR_PEOPLE] = "head-office" in roles
            try:
                caller = await request.app[DOOR].caller(request)
            except CertificateExpired:
                request[_MUST_RENEW] = True
                raise
            if caller.role not in roles:
                raise NotAllowed(f"this is not for a {caller.role}")
            named = request.match_info.get("box")
            if caller.role == "box" and named is not None and named != caller.name:
                raise NotAllowed(f"{caller.name} does not speak for {named}")
            return await handler(request, caller)

        return guarded

    return guard


async def offer_basic(request: web.Request, response: web.StreamResponse) -> None:
    """On a 401 to a person: say that a password would do (an `on_response_prepare` signal)."""
    if response.status == web.HTTPUnauthorized.status_code and request.get(_FOR_PEOPLE):
        response.headers.add(hdrs.WWW_AUTHENTICATE, 'Basic realm="storebox", charset="UTF-8"')


async def part_ways(request: web.Request, response: web.StreamResponse) -> None:
    """End the connection of a box that must come back with another certificate (an `on_response_prepare` signal)."""
    if request.get(_MUST_RENEW):
        response.headers[hdrs.CONNECTION] = "close"
        response.force_close()


async def issue_to_till(database: Database, shop: str, till: str, *, at: str) -> str:
    """A new token for a till; the one it had before is no longer taken."""
    return await _issue(database, "till", shop, till, None, at)


async def issue_to_technician(database: Database, shop: str, name: str, expires_at: str, *, at: str) -> str:
    """A new token for a technician of one shop; the one before is no longer taken."""
    return await _issue(database, "technician", shop, name, expires_at, at)


async def _issue(
    database: Database, role: Role, shop: str, name: str, expires_at: str | None, at: str
) -> str:
    token = new_token()

    async def work(connection: AsyncConnection) -> None:
        await store_boxes.put_credential(
            connection, Holder(role, shop, name, token_digest(token), expires_at)
        )
        data = {"role": role, "shop": shop, "until": expires_at}
        await audit.note(connection, "head-office", "token-issued", name, data, at=at)

    await database.transaction(work)
    return token


def _token(header: str) -> str | None:
    scheme, _, given = header.partition(" ")
    given = given.strip()
    if not given or len(given) > _CREDENTIAL_MAX:
        return None
    if scheme.lower() == "bearer":
        return given
    if scheme.lower() != "basic":
        return None
    try:
        _user, colon, password = base64.b64decode(given, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return password if colon else None

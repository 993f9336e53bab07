"""Head office's desk for boxes: who is let in, who is believed no more, where they are, who their tills are.

The same for the command line and for callers over HTTP: a technician may do of it what concerns his own shop.
"""

import logging
import secrets
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec
from cryptography import x509
from sqlalchemy.ext.asyncio import AsyncConnection

from appliance.domain.dsse import spki_fingerprint
from appliance.domain.enrolling import AuditRow, BoxView, ClaimAnswer, ClaimOrder, Place
from appliance.domain.errors import BadInput, BoxRevoked, NotAllowed, NotFound, NotReady
from appliance.domain.health import Heartbeat, judge
from appliance.domain.pairing import ADDRESSES_MAX, Invitation, PairingView, TillRecord, payload
from appliance.domain.wire import PairingOrder
from appliance.runtime.clock import Clock, rfc3339
from appliance.runtime.keyfile import read_public_pem
from cloud import audit, store_office, swap
from cloud.auth import Caller
from cloud.database import Database
from cloud.enrolment import Enrolment
from cloud.store_office import BoxRow, Order

log = logging.getLogger(__name__)

# As on the box: 128 bits, so that five tries are nothing.
PAIRING_SECRET_BYTES = 16
PAIRING_TRIES = 5
HEAD_OFFICE = Caller("head-office", "", "head-office")


class BoxDesk(NamedTuple):
    """What technicians and head office do about boxes. `caller` is who asks, and what he may is judged here."""

    database: Database
    enrolment: Enrolment
    clock: Clock

    async def claim(self, caller: Caller, order: ClaimOrder) -> ClaimAnswer:
        """A claim for a shop. Raises NotFound when it shall replace a box that is not known, NotAllowed, BadInput."""
        _check_shop(caller, order.shop)
        if order.replaces:
            old = await self._box(caller, order.replaces)
            if old.shop != order.shop:
                raise BadInput(f"{old.box} is of shop {old.shop}: a box is replaced in its own shop")
            async with self.database.reading() as connection:
                if await swap.shown_by(connection, old.box) is not None:
                    raise BadInput(f"{old.box} was replaced already")
        return await self.enrolment.new_claim(
            order.shop,
            order.name,
            order.minutes,
            key_hash=order.key_hash,
            replaces=order.replaces,
            by=_name(caller),
        )

    async def replace(self, caller: Caller, box: str, *, minutes: int, key_hash: str) -> ClaimAnswer:
        """A claim for the box that takes another's place. Raises as `claim`."""
        old = await self._box(caller, box)
        order = ClaimOrder(old.shop, old.shop_name, minutes, key_hash=key_hash, replaces=old.box)
        return await self.claim(caller, order)

    async def revoke(self, caller: Caller, box: str, reason: str) -> None:
        """Believe a box no more; for the second time, nothing happens. Raises NotFound, NotAllowed."""
        await self._box(caller, box)
        now = rfc3339(self.clock.wall())

        async def work(connection: AsyncConnection) -> None:
            if await store_office.revoke(connection, box, reason, now):
                await audit.note(connection, _name(caller), "box-revoked", box, {"reason": reason}, at=now)

        await self.database.transaction(work)
        log.info("box.revoked", extra={"box": box, "by": _name(caller)})

    async def order_pairing(self, caller: Caller, box: str, minutes: int) -> PairingView:
        """Have a box open its pairing window at its next heartbeat; the code to show is ready at once.

        Raises NotFound, NotAllowed, BoxRevoked, and NotReady when the box has not said yet where tills reach it.
        """
        row = await self._box(caller, box)
        if row.revoked_at is not None:
            raise BoxRevoked(f"{box} was revoked at {row.revoked_at}")
        beat = read_beat(row.beat)
        if row.spki is None or beat is None or not beat.port:
            raise NotReady(f"{box} has not said yet where its tills reach it over TLS")
        secret = secrets.token_urlsafe(PAIRING_SECRET_BYTES)
        now = self.clock.wall()
        order = Order(secrets.token_hex(8), secret, rfc3339(now + timedelta(minutes=minutes)))
        invitation = Invitation(
            box=box,
            spki=row.spki,
            fp=_fp(row),
            secret=secret,
            addresses=[at(address, beat.port) for address in beat.addresses[:ADDRESSES_MAX]],
            shop=row.shop_name,
        )

        async def work(connection: AsyncConnection) -> None:
            await store_office.put_order(connection, box, order)
            data = {"order": order.order, "minutes": minutes}
            await audit.note(connection, _name(caller), "pairing-ordered", box, data, at=rfc3339(now))

        await self.database.transaction(work)
        log.info("pairing.ordered", extra={"box": box, "by": _name(caller), "order": order.order})
        return PairingView(payload(invitation), minutes * 60.0, PAIRING_TRIES)

    async def boxes(self, caller: Caller) -> list[BoxView]:
        """The boxes that a caller may see: a technician those of his shop."""
        async with self.database.reading() as connection:
            rows = await store_office.boxes(connection)
        now = self.clock.wall()
        return [_view(row, now) for row in rows if _may(caller, row.shop)]

    async def place(self, caller: Caller, box: str) -> Place:
        """Where a box is, for a till of its shop. Raises NotFound, also for a box of another shop."""
        async with self.database.reading() as connection:
            rows = await store_office.boxes(connection, name=box)
            followed = await swap.shown_by(connection, box)
        if not rows or rows[0].shop != caller.shop:
            raise NotFound(f"no box {box} in shop {caller.shop}")
        row, beat = rows[0], read_beat(rows[0].beat)
        return Place(
            box=box,
            addresses=[] if beat is None else beat.addresses[:ADDRESSES_MAX],
            port=0 if beat is None else beat.port,
            spki=row.spki or "",
            heard_s=_age_s(row, self.clock.wall()),
            succession=followed,
        )

    async def keep_tills(self, box: str, tills: list[TillRecord]) -> None:
        """Keep what a box says of its tills. Raises BadInput when one stands there twice."""
        if len({till.till for till in tills}) < len(tills):
            raise BadInput("a till stands twice in the list")
        await self.database.transaction(store_office.put_tills, box, tills)

    async def audit(self, after: int, limit: int) -> list[AuditRow]:
        """What was done to who may come in, from a row on."""
        async with self.database.reading() as connection:
            return await store_office.audit_page(connection, after, limit)

    async def _box(self, caller: Caller, box: str) -> BoxRow:
        async with self.database.reading() as connection:
            rows = await store_office.boxes(connection, name=box)
        if not rows:
            raise NotFound(f"{box} is not enrolled here")
        _check_shop(caller, rows[0].shop)
        return rows[0]


def order_for(order: Order | None, now: datetime) -> PairingOrder | None:
    """A kept order as the box is told it; None once it has ended."""
    if order is None:
        return None
    left_s = (datetime.fromisoformat(order.until) - now).total_seconds()
    return PairingOrder(order.order, order.secret, left_s) if left_s > 0 else None


def at(address: str, port: int) -> str:
    """`host:port`; an IPv6 address in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def read_beat(body: bytes | None) -> Heartbeat | None:
    """A kept heartbeat; None when there is none that this release can read."""
    try:
        return None if body is None else msgspec.json.decode(body, type=Heartbeat)
    except msgspec.DecodeError:
        return None  # kept by another release; the next one comes within the minute


def certificate_until(pem: str | None) -> datetime | None:
    """When the first certificate of a chain ends."""
    return None if not pem else x509.load_pem_x509_certificate(pem.encode()).not_valid_after_utc


def _view(row: BoxRow, now: datetime) -> BoxView:
    beat, until = read_beat(row.beat), certificate_until(row.certificate)
    return BoxView(
        box=row.box,
        shop=row.shop,
        fp=_fp(row),
        spki=row.spki or "",
        enrolled_at=row.enrolled_at,
        revoked_at=row.revoked_at,
        certificate_until=None if until is None else rfc3339(until),
        heard_at=row.beat_at,
        addresses=[] if beat is None else beat.addresses,
        state=_state(row, beat, now),
        backlog=None if beat is None else beat.backlog,
    )


def _state(row: BoxRow, beat: Heartbeat | None, now: datetime) -> str:
    """`revoked`, `never-seen`, `silent`, or the state of the link as the box told it last."""
    if row.revoked_at is not None:
        return "revoked"
    verdict = judge(beat, _age_s(row, now))
    return verdict.reason if beat is None or verdict.reason == "silent" else beat.link


def _age_s(row: BoxRow, now: datetime) -> float:
    """How long ago the box was heard; of one that never was, since it enrolled."""
    heard = datetime.fromisoformat(row.beat_at or row.enrolled_at)
    return max(0.0, (now - heard).total_seconds())


def _fp(row: BoxRow) -> str:
    return spki_fingerprint(read_public_pem(row.public_key))


def _may(caller: Caller, shop: str) -> bool:
    return caller.role == "head-office" or caller.shop == shop


def _check_shop(caller: Caller, shop: str) -> None:
    if not _may(caller, shop):
        raise NotAllowed(f"this is of shop {shop}, and the token is of shop {caller.shop}")


def _name(caller: Caller) -> str:
    """Who did it, for the audit."""
    return "head-office" if caller.role == "head-office" else f"{caller.role} {caller.shop} {caller.name}"

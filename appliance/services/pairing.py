"""Let tills in: while a window is open, by its secret; and without one by a key that the box before this one knew.

The window is opened by a technician at the box or by head office. Its secret is good for one till, and for so many
tries; then another one takes its place. An answer that was lost costs nothing: the same till with the same key is
answered again until it has used its token.
"""

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from appliance.domain.errors import CannotAccept, NotAllowed, PairingClosed, PairingRefused
from appliance.domain.pairing import (
    ADDRESSES_MAX,
    CONSOLE_OPENED,
    HEAD_OFFICE,
    SUCCESSION,
    TILLS_MAX,
    WINDOW_MINUTES_MAX,
    Invitation,
    PairAnswer,
    PairingView,
    PairRequest,
    TillRow,
    payload,
)
from appliance.domain.wire import Hello, PairingOrder
from appliance.runtime.certificates import CSR, read_csr
from appliance.runtime.clock import Clock, rfc3339
from appliance.services.lan_keys import Certified, TillAuthority
from appliance.services.ports import Recorder, Tills
from appliance.services.presence import CONSOLE

log = logging.getLogger(__name__)

SECRET_BYTES = 16
TRIES = 5
# A till whose answer was lost asks again within so long.
AGAIN_S = 600.0


class Grounds(NamedTuple):
    """What a till is told when it is let in, beside what is its own: see PairAnswer."""

    authority: str
    cloud_url: str
    cloud_keys: Sequence[str]
    reachable: Callable[[], Sequence[str]]
    port: Callable[[], int]


@dataclass
class _Window:
    until_s: float
    by: str
    secret: str
    tries_left: int = TRIES

    def renew(self) -> None:
        """Another secret: the code that was shown is dead."""
        self.secret, self.tries_left = secrets.token_urlsafe(SECRET_BYTES), TRIES


@dataclass
class _Spent:
    """The secret that was used last, and for whom."""

    digest: bytes
    row: TillRow
    certified: Certified
    until_s: float


class Pairing:
    """The window, and who comes in through it."""

    def __init__(
        self,
        hello: Hello,
        authority: TillAuthority | None,
        tills: Tills,
        journal: Recorder,
        clock: Clock,
        grounds: Grounds,
        changed: Callable[[], None],
    ) -> None:
        """`authority` None: without TLS nobody can prove a key, so nobody is let in. `changed`: a till has come in."""
        self._hello = hello
        self._authority = authority
        self._tills = tills
        self._journal = journal
        self._clock = clock
        self._grounds = grounds
        self._changed = changed
        self._kept: _Window | None = None
        self._spent: _Spent | None = None
        self._orders: asyncio.Queue[PairingOrder] = asyncio.Queue()
        self._obeyed = ""
        self._one_at_a_time = asyncio.Lock()

    def hello(self) -> Hello:
        """What anybody may know of this box right now."""
        return msgspec.structs.replace(self._hello, pairing=self._window() is not None)

    async def open(self, minutes: int) -> PairingView:
        """Open the window for a technician; one that was open ends, its secret too."""
        self._check_tls()
        window = await self._open(minutes * 60.0, CONSOLE_OPENED, secrets.token_urlsafe(SECRET_BYTES))
        return self._view(window)

    def view(self) -> PairingView | None:
        """The open window."""
        window = self._window()
        return None if window is None else self._view(window)

    def close(self) -> None:
        """Let nobody else in."""
        self._kept = None

    def ordered(self, order: PairingOrder) -> None:
        """Head office wants the window open; it says so with every heartbeat while that lasts."""
        if order.order != self._obeyed and self._authority is not None:
            self._obeyed = order.order
            self._orders.put_nowait(order)

    async def run(self) -> None:
        """Do what head office ordered, for ever."""
        while True:
            order = await self._orders.get()
            try:
                await self._obey(order)
            except CannotAccept as error:
                log.warning("pairing.order_unkept", extra={"order": order.order, "why": str(error)})

    async def pair(self, request: PairRequest, remote: str) -> PairAnswer:
        """Let a till in, on disk when this returns.

        Raises Malformed (the request is not signed by its key), PairingClosed, PairingRefused, NotAllowed.
        """
        self._check_tls()
        asked = read_csr(request.csr)
        if request.till == CONSOLE:
            raise NotAllowed(f"{CONSOLE!r} is the box's own name for itself")
        async with self._one_at_a_time:
            if not request.secret:
                return await self._pair_by_key(request, asked)
            return await self._pair_by_secret(request, asked, remote)

    async def _pair_by_secret(self, request: PairRequest, asked: CSR, remote: str) -> PairAnswer:
        window, spent = self._window(), self._spent
        shown = _digest(request.secret)
        # All is compared, whatever the outcome, so that its time tells nothing.
        good = hmac.compare_digest(shown, _digest(window.secret) if window else bytes(len(shown)))
        again = hmac.compare_digest(shown, spent.digest if spent else bytes(len(shown)))
        if again and spent is not None and self._may_come_again(spent, request, asked):
            return await self._let_in(spent.row, spent.certified)
        if window is None:
            raise PairingClosed
        if not good:
            await self._count_try(window, remote)
        self._check_room(request.till)
        row, certified = self._row(request, asked, window.by)
        await self._record(row)
        # From here on no second till comes in by it, whatever fails.
        self._spent = _Spent(shown, row, certified, self._clock.monotonic() + AGAIN_S)
        window.renew()
        return await self._let_in(row, certified)

    async def _pair_by_key(self, request: PairRequest, asked: CSR) -> PairAnswer:
        known = self._tills.inherited(asked.spki)
        if known is None or known.till != request.till:
            window = self._window()
            raise PairingClosed if window is None else PairingRefused(tries_left=window.tries_left)
        named = msgspec.structs.replace(request, name=request.name or known.name)
        row, certified = self._row(named, asked, SUCCESSION)
        if not known.token_sha256:
            await self._record(row)
        return await self._let_in(row, certified)

    async def _count_try(self, window: _Window, remote: str) -> None:
        """A wrong secret. Raises PairingRefused, always."""
        window.tries_left -= 1
        left = window.tries_left
        if left == 0:
            window.renew()
            await self._journal.record("pairing_refused", {"address": remote})
        raise PairingRefused(tries_left=left)

    def _may_come_again(self, spent: _Spent, request: PairRequest, asked: CSR) -> bool:
        same = spent.row.till == request.till and spent.row.spki == asked.spki
        kept = next((row for row in self._tills.rows() if row.till == request.till), None)
        mine = kept is not None and kept.certificate_sha256 == spent.row.certificate_sha256 and not kept.used
        return same and mine and self._clock.monotonic() < spent.until_s

    def _row(self, request: PairRequest, asked: CSR, by: str) -> tuple[TillRow, Certified]:
        assert self._authority is not None  # _check_tls
        certified = self._authority.certify(request.till, asked.public_key)
        paired_at = rfc3339(self._clock.wall())
        return TillRow(
            till=request.till,
            certificate_sha256=certified.sha256,
            spki=asked.spki,
            name=request.name,
            paired_at=paired_at,
            by=by,
        ), certified

    async def _record(self, row: TillRow) -> None:
        await self._journal.record("till_paired", {"name": row.name, "by": row.by}, till=row.till)

    async def _let_in(self, row: TillRow, certified: Certified) -> PairAnswer:
        token = secrets.token_urlsafe(32)
        await self._tills.put(msgspec.structs.replace(row, token_sha256=_digest(token).hex()))
        self._changed()
        log.info("till.paired", extra={"till": row.till, "by": row.by})
        grounds = self._grounds
        return PairAnswer(
            box=self._hello.box,
            till=row.till,
            token=token,
            certificate=certified.pem,
            authority=grounds.authority,
            cloud_url=grounds.cloud_url,
            cloud_keys=list(grounds.cloud_keys),
            addresses=self._told_addresses(),
            port=grounds.port(),
            hello=self.hello(),
        )

    async def _obey(self, order: PairingOrder) -> None:
        by = f"{HEAD_OFFICE} {order.order}"
        # After a restart the order may come again: a secret by which a till has come in is spent all the same.
        spent = any(row.by == by for row in self._tills.rows())
        secret = secrets.token_urlsafe(SECRET_BYTES) if spent else order.secret
        await self._open(min(order.left_s, WINDOW_MINUTES_MAX * 60.0), by, secret)

    async def _open(self, seconds: float, by: str, secret: str) -> _Window:
        await self._journal.record("pairing_opened", {"by": by, "minutes": round(seconds / 60)})
        window = self._kept = _Window(self._clock.monotonic() + seconds, by, secret)
        return window

    def _window(self) -> _Window | None:
        if self._kept is not None and self._clock.monotonic() >= self._kept.until_s:
            self._kept = None
        return self._kept

    def _view(self, window: _Window) -> PairingView:
        told = self._hello
        addresses = self._told_addresses()
        invitation = Invitation(
            told.box, told.spki, told.fp, window.secret, addresses, told.name or told.shop
        )
        expires_s = round(window.until_s - self._clock.monotonic(), 3)
        return PairingView(payload(invitation), expires_s, window.tries_left)

    def _told_addresses(self) -> list[str]:
        port = self._grounds.port()
        return [host_and_port(address, port) for address in self._grounds.reachable()][:ADDRESSES_MAX]

    def _check_room(self, till: str) -> None:
        tills = {row.till for row in self._tills.rows()} - {CONSOLE}
        if till not in tills and len(tills) >= TILLS_MAX:
            raise NotAllowed(f"at most {TILLS_MAX} tills can be paired: revoke one first")

    def _check_tls(self) -> None:
        if self._authority is None:
            raise NotAllowed("tills pair over TLS only, and this box serves plain HTTP")


def host_and_port(address: str, port: int) -> str:
    """As it stands in a URL: an IPv6 address in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()

"""Accept sales: judge what may pass, flag what does not add up, store, acknowledge."""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from appliance.domain import event as chain
from appliance.domain.canonical import canonical
from appliance.domain.errors import (
    CannotAccept,
    InvalidSale,
    NotFound,
    OnlineOnly,
    SaleConflict,
    SalePruned,
    WrongTill,
)
from appliance.domain.flags import catalogue_flags, flags, in_order, priced
from appliance.domain.sale import Sale
from appliance.domain.tickets import ticket_of_sale
from appliance.domain.wire import Ack, SaleView
from appliance.services.gate import Gate
from appliance.services.operations import Operations
from appliance.storage.commit import CONFLICT_KEY, Draft, Entry, sale_data
from appliance.storage.journal import Journal
from appliance.storage.prices import Prices

log = logging.getLogger(__name__)


@dataclass(slots=True)
class SellingCounts:
    """Since this process started."""

    accepted: int = 0
    replayed: int = 0
    conflicting: int = 0
    flagged: int = 0
    by_flag: Counter[str] = field(default_factory=Counter)


class _SaleData(msgspec.Struct, frozen=True):
    """What an event of kind `sale` holds."""

    flags: list[str]
    sale: Sale


_sale_data = msgspec.json.Decoder(_SaleData)


class Selling:
    """The use cases of a till's sale."""

    def __init__(
        self,
        journal: Journal,
        gate: Gate,
        operations: Operations,
        box: str,
        prices: Prices | None = None,
        admit: Callable[[], None] = lambda: None,
    ) -> None:
        self._journal = journal
        self._gate = gate
        self._operations = operations
        self._box = box
        self._prices = prices
        self._admit = admit
        self.counts = SellingCounts()

    async def accept(self, sale: Sale, till: str, body: bytes | None = None) -> tuple[Ack, bool]:
        """Store a sale for ever; on disk when this returns. The ack, and whether the sale was known before.

        `body`: its canonical bytes, where the caller has them already. Raises WrongTill, InvalidSale (training),
        OnlineOnly (an online-only operation hides in it), SaleConflict, CannotAccept. A sale that is known is never
        judged again: it gets its first ack.
        """
        if sale.till_id != till:
            raise WrongTill(f"the token is for till {till!r}")
        entry = await self._known_or_stored(sale, sale.encode() if body is None else body, till)
        ack = _ack(self._box, sale.sale_id, entry)
        if entry.known:
            self.counts.replayed += 1
        else:
            self.counts.accepted += 1
            self._count_flags(ack, till)
        return ack, entry.known

    def look_up(self, sale_id: str) -> SaleView:
        """A sale that was accepted here. Raises NotFound, SalePruned (accepted, and its retention is over)."""
        try:
            entry = self._journal.sale(_key_of(sale_id))
        except ValueError:
            entry = None
        if entry is None:
            raise NotFound(f"no sale {sale_id!r} in this box")
        position = entry.position
        if entry.pruned:
            raise SalePruned(f"sale {sale_id} is in the head office", epoch=position.epoch, seq=position.seq)
        synced = position.seq <= self._journal.synced().get(position.epoch, 0)
        data = _sale_data.decode(chain.content(entry.body).data)
        return SaleView(_ack(self._box, sale_id, entry), synced, data.sale)

    async def _known_or_stored(self, sale: Sale, body: bytes, till: str) -> Entry:
        await self._judge(sale, till)
        data = sale_data(self._flags(sale), body)
        draft = Draft("sale", data, till, sale.key, body, ticket=ticket_of_sale(sale))
        try:
            return await self._journal.append(draft)
        except SaleConflict as conflict:
            await self._keep_conflict(sale, body, till, conflict)
            raise

    def _flags(self, sale: Sale) -> list[str]:
        """What sale and catalogue tell; what the till's other tickets tell is added in the journal's transaction."""
        found = flags(sale)
        if self._prices is None or sale.catalogue_version is None:
            return found
        lines = priced(sale)
        prices = self._prices.at(sale.catalogue_version, [line.article_id for line in lines])
        more = catalogue_flags(lines, sale.currency, prices) if prices is not None else []
        return in_order(found, more) if more else found

    def _count_flags(self, ack: Ack, till: str) -> None:
        if not ack.flags:
            return
        self.counts.flagged += 1
        self.counts.by_flag.update(ack.flags)
        log.warning("sale.flagged", extra={"sale_id": ack.sale_id, "till": till, "flags": ack.flags})

    async def _judge(self, sale: Sale, till: str) -> None:
        if sale.training:
            # Training sales belong in a chain of their own, which does not exist yet: mixed in, they would count.
            raise InvalidSale("training sales are not kept by this release")
        try:
            self._gate.admit_sale(sale)
        except OnlineOnly as refusal:
            if self._journal.sale(sale.key) is not None:
                return  # it passed when it happened
            await self._operations.refused_in_sale(sale, till, refusal)
            raise
        try:
            self._admit()
        except CannotAccept:
            if self._journal.sale(sale.key) is None:
                raise

    async def _keep_conflict(self, sale: Sale, body: bytes, till: str, conflict: SaleConflict) -> None:
        """Both stay visible: the second content goes into the chain too, once however often it is sent."""
        self.counts.conflicting += 1
        log.error("sale.conflict", extra={"sale_id": sale.sale_id, "till": till})
        data = b'{"sale":%b,"stands_at":%b}' % (body, canonical(conflict.fields))
        key = CONFLICT_KEY + chain.digest(body)
        await self._journal.append(Draft("sale_conflict", data, till, key, body))


def _key_of(sale_id: str) -> bytes:
    return bytes.fromhex(sale_id.replace("-", ""))


def _ack(box: str, sale_id: str, entry: Entry) -> Ack:
    event = _accepted.decode(entry.body)
    return Ack(
        sale_id=sale_id,
        box=box,
        epoch=entry.position.epoch,
        seq=entry.position.seq,
        hash=entry.position.head.hex(),
        accepted_at=event.at,
        flags=event.data.flags,
        head=msgspec.Raw(entry.head),
    )


class _Flags(msgspec.Struct, frozen=True):
    flags: list[str]


class _Accepted(msgspec.Struct, frozen=True):
    """What an ack repeats of its event."""

    at: str
    data: _Flags


_accepted = msgspec.json.Decoder(_Accepted)

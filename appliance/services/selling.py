"""Accept sales: judge what may pass, flag what does not add up, store, acknowledge."""

import logging
from dataclasses import dataclass

import msgspec

from appliance.domain import event as chain
from appliance.domain.canonical import canonical
from appliance.domain.errors import InvalidSale, NotFound, OnlineOnly, SaleConflict, WrongTill
from appliance.domain.sale import Sale, flags
from appliance.domain.wire import Ack, SaleView
from appliance.services.gate import Gate
from appliance.services.operations import Operations
from appliance.storage.commit import CONFLICT_KEY, Draft, Entry
from appliance.storage.journal import Journal

log = logging.getLogger(__name__)


@dataclass(slots=True)
class SellingCounts:
    """Since this process started."""

    accepted: int = 0
    replayed: int = 0
    conflicting: int = 0
    flagged: int = 0


class _SaleData(msgspec.Struct, frozen=True):
    """What an event of kind `sale` holds."""

    flags: list[str]
    sale: Sale


_sale_data = msgspec.json.Decoder(_SaleData)


class Selling:
    """The use cases of a till's sale."""

    def __init__(self, journal: Journal, gate: Gate, operations: Operations, box: str) -> None:
        self._journal = journal
        self._gate = gate
        self._operations = operations
        self._box = box
        self.counts = SellingCounts()

    async def accept(self, sale: Sale, till: str) -> tuple[Ack, bool]:
        """Store a sale for ever; on disk when this returns. The ack, and whether the sale was known before.

        Raises WrongTill, InvalidSale (training), OnlineOnly (an online-only operation hides in it), SaleConflict,
        CannotAccept. A sale that is known is never judged again: it gets its first ack.
        """
        if sale.till_id != till:
            raise WrongTill(f"the token is for till {till!r}")
        body = sale.encode()
        entry = await self._known_or_stored(sale, body, till)
        if entry.known:
            self.counts.replayed += 1
        else:
            self.counts.accepted += 1
        return _ack(self._box, sale.sale_id, entry), entry.known

    def look_up(self, sale_id: str) -> SaleView:
        """A sale that was accepted here. Raises NotFound."""
        try:
            entry = self._journal.sale(_key_of(sale_id))
        except ValueError:
            entry = None
        if entry is None:
            raise NotFound(f"no sale {sale_id!r} in this box")
        position = entry.position
        synced = position.seq <= self._journal.synced().get(position.epoch, 0)
        data = _sale_data.decode(chain.content(entry.body).data)
        return SaleView(_ack(self._box, sale_id, entry), synced, data.sale)

    async def _known_or_stored(self, sale: Sale, body: bytes, till: str) -> Entry:
        await self._judge(sale, till)
        found = flags(sale)
        data = b'{"flags":%b,"sale":%b}' % (canonical(found), body)  # canonical: keys sorted, parts canonical
        try:
            entry = await self._journal.append(Draft("sale", data, till, sale.key, body))
        except SaleConflict as conflict:
            await self._keep_conflict(sale, body, till, conflict)
            raise
        if found and not entry.known:
            self.counts.flagged += 1
            log.warning("sale.flagged", extra={"sale_id": sale.sale_id, "till": till, "flags": found})
        return entry

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

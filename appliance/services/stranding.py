"""An old epoch that the cloud does not follow to its end: what it still holds goes on in the present epoch.

After a rolled-back card the end of the old epoch stands at places that the cloud holds otherwise, or cannot take. It
stays in the journal as it is; its sales are appended again, under their own ids, so that head office books each one
exactly once whichever copy arrives. Doing this twice changes nothing: a sale that was carried stands elsewhere now.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Literal

import msgspec

from appliance.domain import event as chain
from appliance.domain.canonical import canonical
from appliance.domain.errors import BadEvent
from appliance.storage.commit import CONFLICT_KEY, Draft, Entry
from appliance.storage.journal import Journal
from appliance.storage.outgoing import Outgoing

log = logging.getLogger(__name__)

PAGE_EVENTS = 200


class _SaleId(msgspec.Struct, frozen=True):
    sale_id: str


class Carried(msgspec.Struct, frozen=True):
    """Where a stranded epoch's sales stand now: the furthest seq by epoch. `unread`: events that nobody can read."""

    places: dict[int, int]
    unread: int


class Stranding:
    """Knows which epochs are stranded, and whether all that they held has come to head office another way."""

    def __init__(self, journal: Journal, outgoing: Outgoing) -> None:
        self._journal = journal
        self._outgoing = outgoing
        self._carried: dict[int, Carried] = {}

    async def strand(self, epoch: int) -> None:
        """Carry the sales of an epoch behind its last receipt, then wait for the rest no more. Raises CannotAccept."""
        places: dict[int, int] = {}
        after = sales = unread = 0
        while page := await self._outgoing.unreceipted(epoch, after, PAGE_EVENTS):
            carrying = [_carry(self._journal, epoch, seq, body) for seq, body in page]
            for outcome in await asyncio.gather(*carrying):
                unread += outcome is None
                if isinstance(outcome, Entry):
                    place = outcome.position
                    places[place.epoch] = max(place.seq, places.get(place.epoch, 0))
                    sales += 1
            after = page[-1][0]
        self._carried[epoch] = Carried(places, unread)
        self._journal.stranded.add(epoch)
        log.error("epoch.stranded", extra={"epoch": epoch, "sales_carried": sales, "unread": unread})

    def unsettled(self) -> list[int]:
        """The stranded epochs with a sale that head office does not hold yet, or with an event that cannot be read."""
        synced = self._journal.synced()
        return [epoch for epoch in sorted(self._carried) if not self._settled(epoch, synced)]

    def _settled(self, epoch: int, synced: Mapping[int, int]) -> bool:
        carried = self._carried[epoch]
        return carried.unread == 0 and all(
            synced.get(later, 0) >= seq or (later in self._carried and self._settled(later, synced))
            for later, seq in carried.places.items()
        )


async def _carry(journal: Journal, epoch: int, seq: int, body: bytes) -> Entry | Literal["no sale"] | None:
    """Where the sale in an event stands from now on, or stood already; None when the event cannot be read."""
    try:
        event = chain.content(body)
        if event.kind not in ("sale", "sale_conflict"):
            return "no sale"
        data = msgspec.json.decode(event.data, type=dict[str, msgspec.Raw])
        sale = bytes(data["sale"])
        sale_id = msgspec.json.decode(sale, type=_SaleId).sale_id
    except (BadEvent, msgspec.DecodeError, KeyError) as error:
        log.error("epoch.event_not_carried", extra={"epoch": epoch, "seq": seq, "why": str(error)})
        return None
    is_conflict = event.kind == "sale_conflict"
    key = CONFLICT_KEY + chain.digest(sale) if is_conflict else bytes.fromhex(sale_id.replace("-", ""))
    entry = journal.sale(key)
    if entry is None or (entry.position.epoch, entry.position.seq) != (epoch, seq):
        return entry or "no sale"
    more = {"carried": msgspec.Raw(canonical({"epoch": epoch, "seq": seq}))}
    kind = event.kind
    return await journal.append(Draft(kind, canonical({**data, **more}), event.till, key, sale, carried=True))

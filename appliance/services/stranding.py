"""An old epoch that the cloud does not follow to its end: what it still holds goes on in the present epoch.

After a rolled-back card the end of the old epoch stands at places that the cloud holds otherwise, or cannot take. It
stays in the journal as it is; its sales are appended again, under their own ids, so that head office books each one
exactly once whichever copy arrives. Doing this twice changes nothing: a sale that was carried stands elsewhere now.
"""

import asyncio
import logging

import msgspec

from appliance.domain import event as chain
from appliance.domain.canonical import canonical
from appliance.domain.errors import BadEvent
from appliance.storage.commit import CONFLICT_KEY, Draft
from appliance.storage.journal import Journal
from appliance.storage.outgoing import Outgoing

log = logging.getLogger(__name__)

PAGE_EVENTS = 200


class _SaleId(msgspec.Struct, frozen=True):
    sale_id: str


async def strand(journal: Journal, outgoing: Outgoing, epoch: int) -> None:
    """Carry the sales of an epoch behind its last receipt, then wait for the rest no more. Raises CannotAccept."""
    carried, after = 0, 0
    while page := await outgoing.unreceipted(epoch, after, PAGE_EVENTS):
        drafts = [draft for seq, body in page if (draft := _carried(journal, epoch, seq, body)) is not None]
        await asyncio.gather(*(journal.append(draft) for draft in drafts))
        carried += len(drafts)
        after = page[-1][0]
    journal.stranded.add(epoch)
    log.error("epoch.stranded", extra={"epoch": epoch, "sales_carried": carried})


def _carried(journal: Journal, epoch: int, seq: int, body: bytes) -> Draft | None:
    """The draft that carries an event; None for one that is no sale, or that stands elsewhere already."""
    try:
        event = chain.content(body)
        if event.kind not in ("sale", "sale_conflict"):
            return None
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
        return None
    more = {"carried": msgspec.Raw(canonical({"epoch": epoch, "seq": seq}))}
    kind = event.kind
    return Draft(kind, canonical({**data, **more}), event.till, key, sale, carried=True)

"""What events mean to the back office: rows of sales, and notes on what it could not digest. Pure.

Nothing here can refuse an event: it is stored before anybody looks inside.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from appliance.domain import event
from appliance.domain.canonical import canonical
from appliance.domain.errors import StoreboxError
from appliance.domain.event import Sealed
from appliance.domain.sale import Sale, parse_sale
from cloud.bodies import NUMBER_MAX
from cloud.store_exceptions import DETAIL_MAX, Note
from cloud.store_sales import SaleRow
from cloud.store_updates import BACK, Outcome


class SaleFacts(msgspec.Struct, frozen=True, gc=False):
    """What the books keep of a sale: a batch has thousands, and their lines would only fill the memory."""

    sale_id: str
    till_id: str
    business_date: str
    ticket_number: int
    total_minor: int
    currency: str
    training: bool

    @staticmethod
    def of(sale: Sale) -> "SaleFacts":
        """The facts of a sale."""
        return SaleFacts(
            sale.sale_id,
            sale.till_id,
            sale.business_date,
            sale.ticket_number,
            sale.total_minor,
            sale.currency,
            sale.training,
        )


class UpdateFacts(msgspec.Struct, frozen=True, gc=False):
    """What a box says became of an update."""

    number: Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
    version: Annotated[str, Meta(max_length=64)]
    reason: Annotated[str, Meta(max_length=64)] = ""
    detail: str = ""


class Reading(msgspec.Struct, frozen=True, gc=False):
    """What an event's content says: a sale with its digest, a fault, the end of an update, or nothing for the books."""

    sale: SaleFacts | None = None
    sha256: bytes = b""
    flags: list[str] = []
    fault: str | None = None
    detail: str = ""
    update: UpdateFacts | None = None
    kind: str = ""


class Projection(msgspec.Struct, frozen=True):
    """What a batch adds to the books; `copies` counts how often each known sale came again."""

    sales: list[SaleRow]
    copies: Counter[str]
    notes: list[Note]
    outcomes: list[Outcome]


class _SaleData(msgspec.Struct, frozen=True):
    """The data of a `sale` event, as the box writes it."""

    sale: msgspec.Raw
    flags: list[str] = []


_sale_data = msgspec.json.Decoder(_SaleData)
_update_data = msgspec.json.Decoder(UpdateFacts)
_NOTHING = Reading()
# The kinds that end an update.
_ENDS = ("updated", "update_refused", BACK)


def sale_digest(sale: Sale) -> bytes:
    """The name of a sale's content: the same by whichever way it came."""
    return hashlib.sha256(sale.encode()).digest()


def read_event(body: bytes) -> Reading:
    """Look inside an event. Never raises: what cannot be read is a reading with a `fault`."""
    what = "sale"
    try:
        found = event.content(body)
        if found.kind in _ENDS:
            what = "update"
            return Reading(update=_update_data.decode(found.data), kind=found.kind)
        if found.kind != "sale":
            return _NOTHING
        data = _sale_data.decode(found.data)
        sale = parse_sale(bytes(data.sale))
        return Reading(SaleFacts.of(sale), sale_digest(sale), data.flags)
    except StoreboxError as error:
        return Reading(
            fault=f"unreadable-{'event' if error.code == 'bad-event' else 'sale'}", detail=str(error)
        )
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Reading(fault=f"unreadable-{what}", detail=str(error))


def project(
    box: str, events: list[Sealed], readings: list[Reading], known: Mapping[str, bytes], *, at: str
) -> Projection:
    """Compare a batch's sales with those known (`known`: digest by sale id) and with each other."""
    digests = dict(known)
    found = Projection([], Counter(), [], [])
    for sealed, reading in zip(events, readings, strict=True):
        if reading.fault is not None:
            found.notes.append(_note(box, sealed, reading.fault, reading.detail, at=at))
        if reading.update is not None:
            found.outcomes.append(_outcome(box, reading.kind, reading.update, at=at))
        if reading.sale is None:
            continue
        sale_id = reading.sale.sale_id
        stored = digests.get(sale_id)
        if stored is None:
            digests[sale_id] = reading.sha256
            found.sales.append(_row(box, sealed, reading, reading.sale, at=at))
        elif stored == reading.sha256:
            found.copies[sale_id] += 1
        else:
            detail = f"sale {sale_id} is known with another content"
            found.notes.append(_note(box, sealed, "sale-conflict", detail, at=at, sale_id=sale_id))
    return found


def _row(box: str, sealed: Sealed, reading: Reading, sale: SaleFacts, *, at: str) -> SaleRow:
    return SaleRow(
        **msgspec.structs.asdict(sale),
        sha256=reading.sha256,
        flags=canonical(reading.flags).decode(),
        via="box",
        stored_at=at,
        box=box,
        epoch=sealed.link.epoch,
        seq=sealed.link.seq,
    )


def _outcome(box: str, kind: str, said: UpdateFacts, *, at: str) -> Outcome:
    return Outcome(box, said.number, kind, said.version, said.reason, said.detail[:DETAIL_MAX], at)


def _note(box: str, sealed: Sealed, reason: str, detail: str, *, at: str, sale_id: str | None = None) -> Note:
    place = sealed.link
    return Note(
        reason=reason,
        subject=f"{box}/{place.epoch}/{place.seq}",
        at=at,
        box=box,
        epoch=place.epoch,
        seq=place.seq,
        sale_id=sale_id,
        detail=detail,
    )

"""A sale as a till tells it. Names follow ARTS POSLog; see docs/GLOSSARY.md.

Parsing decides only whether a sale can be *read*; what reads but does not add up is accepted and flagged
(`flags`), because a sale that happened is a fact (design promise 7).
"""

import json
import uuid
from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from appliance.domain import money
from appliance.domain.canonical import canonical
from appliance.domain.errors import InvalidSale, Malformed

# Limits of one sale: a cash-and-carry trolley has some 300 lines.
LINES_MAX = 1_000
TENDERS_MAX = 50
SALE_BYTES_MAX = 256 * 1024

# Patterns end in `$(?!\n)`: in Python a bare `$` also matches before a last line feed, in JSON Schema it does not.
Identifier = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[!-~][ -~]*$(?!\n)")]
Text = Annotated[str, Meta(max_length=200)]
Amount = Annotated[int, Meta(ge=-money.AMOUNT_MINOR_MAX, le=money.AMOUNT_MINOR_MAX)]
VatRate = Annotated[int, Meta(ge=0, le=10_000, description="basis points: 2000 is 20 %")]
Quantity = Annotated[str, Meta(max_length=18, pattern=r"^-?(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?$(?!\n)")]
Instant = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]{1,9})?"
        r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$(?!\n)",
        max_length=35,
        description="RFC 3339",
    ),
]
BusinessDate = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$(?!\n)", description="a plain date")]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)", description="ISO 4217")]
SaleId = Annotated[
    str,
    Meta(
        pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$(?!\n)",
        description="UUIDv7 (RFC 9562), lower case, made by the till: the idempotency key",
    ),
]
LineType = Literal["sale", "return", "deposit", "voucher", "credit_note"]
Mode = Literal["cloud", "local"]


class Adjustment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A change to a line's price; `amount_minor` is what it adds (a discount is negative)."""

    reason: Text
    amount_minor: Amount
    authorised_by: Identifier | None = None


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line. `gross_minor` is what the customer pays for it, adjustments in; a return's is negative."""

    line_type: LineType
    article_id: Identifier
    quantity: Quantity
    unit_price_minor: Amount
    gross_minor: Amount
    net_minor: Amount
    vat_rate_bp: VatRate
    scanned_code: Text | None = None
    name: Text | None = None
    adjustments: Annotated[list[Adjustment], Meta(max_length=50)] = []
    voided: bool = False


class Tender(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way of paying; change given back is negative cash."""

    type: Identifier
    amount_minor: Amount


class VatTotal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The till's own total of one VAT rate."""

    vat_rate_bp: VatRate
    gross_minor: Amount
    net_minor: Amount


class Sale(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One finished ticket. `ticket_number` is the till's own, gapless per till. Its dates are days that exist."""

    sale_id: SaleId
    till_id: Identifier
    ticket_number: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    business_date: BusinessDate
    started_at: Instant
    ended_at: Instant
    operator_id: Identifier
    currency: Currency
    mode: Mode
    lines: Annotated[list[Line], Meta(min_length=1, max_length=LINES_MAX)]
    tenders: Annotated[list[Tender], Meta(max_length=TENDERS_MAX)]
    vat_totals: Annotated[list[VatTotal], Meta(max_length=20)]
    total_minor: Amount
    shift_id: Identifier | None = None
    training: bool = False
    catalogue_version: Annotated[int, Meta(ge=0, le=2**53 - 1)] | None = None
    customer_id: Identifier | None = None

    def __post_init__(self) -> None:
        for field in ("business_date", "started_at", "ended_at"):
            text: str = getattr(self, field)
            try:
                date.fromisoformat(text[:10])
            except ValueError as error:
                raise ValueError(f"`{field}` names no day of the calendar: {text!r}") from error

    @property
    def key(self) -> bytes:
        """The sale id's 16 bytes."""
        return uuid.UUID(self.sale_id).bytes

    def encode(self) -> bytes:
        """Canonical bytes: two sales are the same sale exactly when these are."""
        return canonical(self)


def parse_sale(body: bytes) -> Sale:
    """Read a sale. Raises Malformed (no JSON) or InvalidSale (a field is unknown, missing, bad or said twice)."""
    try:
        sale = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidSale(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"not JSON: {error}") from error
    _said_once.decode(body.decode())
    return sale


def _refuse_twice(members: list[tuple[str, Any]]) -> None:
    if len(dict(members)) < len(members):
        names = [name for name, _ in members]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidSale(f"`{twice}` is said twice in one object")


_decoder = msgspec.json.Decoder(Sale)
# msgspec takes the last of two members of one name, others the first: nobody could say what the till meant (RFC 8259
# section 4). This second look costs about as much as the first.
_said_once = json.JSONDecoder(object_pairs_hook=_refuse_twice)


def flags(sale: Sale) -> list[str]:
    """What does not add up in this sale, as stable codes in a fixed order; empty when all does."""
    live = [line for line in sale.lines if not line.voided]
    found = []
    if any(_line_gross(line) != line.gross_minor for line in live):
        found.append("line-gross")
    if any(money.net_of(line.gross_minor, line.vat_rate_bp) != line.net_minor for line in live):
        found.append("line-net")
    if sum(line.gross_minor for line in live) != sale.total_minor:
        found.append("total-lines")
    if sum(tender.amount_minor for tender in sale.tenders) != sale.total_minor:
        found.append("total-tenders")
    if not _vat_adds_up(live, sale.vat_totals):
        found.append("vat-totals")
    return found


def _line_gross(line: Line) -> int:
    amount = money.quantity(line.quantity)
    assert amount is not None  # the pattern on the field has checked it
    return money.times(line.unit_price_minor, amount) + sum(a.amount_minor for a in line.adjustments)


def _vat_adds_up(lines: list[Line], totals: list[VatTotal]) -> bool:
    gross, net = _by_rate(lines)
    gross_said, net_said = _by_rate(totals)
    # Tills compute the net of a rate either line by line or from its gross: both are right.
    return all(
        gross_said[rate] == gross[rate] and net_said[rate] in (net[rate], money.net_of(gross[rate], rate))
        for rate in gross.keys() | gross_said.keys()
    )


def _by_rate(rows: Iterable[Line | VatTotal]) -> tuple[defaultdict[int, int], defaultdict[int, int]]:
    gross: defaultdict[int, int] = defaultdict(int)
    net: defaultdict[int, int] = defaultdict(int)
    for row in rows:
        gross[row.vat_rate_bp] += row.gross_minor
        net[row.vat_rate_bp] += row.net_minor
    return gross, net

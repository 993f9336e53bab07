"""A sale as a till tells it. Names follow ARTS POSLog; see docs/GLOSSARY.md.

Parsing decides only whether a sale can be *read*; what reads but does not add up is accepted and flagged
(`domain/flags.py`), because a sale that happened is a fact (design promise 7).
"""

import json
import re
from datetime import date
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from appliance.domain import money
from appliance.domain.canonical import canonical
from appliance.domain.errors import InvalidSale, Malformed

# Nothing that is read here can hold itself: the garbage collector need not look at it (`gc=False`), and a trolley has
# hundreds of lines.

# Limits of one sale: a cash-and-carry trolley has some 300 lines.
LINES_MAX = 1_000
TENDERS_MAX = 50
SALE_BYTES_MAX = 256 * 1024

# Patterns end in `$(?!\n)`: in Python a bare `$` also matches before a last line feed, in JSON Schema it does not.
_IDENTIFIER = r"^[!-~][ -~]*$(?!\n)"
_QUANTITY = r"^-?(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?$(?!\n)"
Identifier = Annotated[str, Meta(min_length=1, max_length=64, pattern=_IDENTIFIER)]
Text = Annotated[str, Meta(max_length=200)]
Amount = Annotated[int, Meta(ge=-money.AMOUNT_MINOR_MAX, le=money.AMOUNT_MINOR_MAX)]
VatRate = Annotated[int, Meta(ge=0, le=10_000, description="basis points: 2000 is 20 %")]
Quantity = Annotated[str, Meta(max_length=18, pattern=_QUANTITY)]
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
# In what a sale holds many of, the patterns are checked for all at once (`Sale.__post_init__`): one by one they cost
# half of reading a sale.
_IdentifierInBulk = Annotated[
    str, Meta(min_length=1, max_length=64, extra_json_schema={"pattern": _IDENTIFIER})
]
_QuantityInBulk = Annotated[str, Meta(max_length=18, extra_json_schema={"pattern": _QUANTITY})]
LineType = Literal["sale", "return", "deposit", "voucher", "credit_note"]
Mode = Literal["cloud", "local"]


class Adjustment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A change to a line's price; `amount_minor` is what it adds (a discount is negative)."""

    reason: Text
    amount_minor: Amount
    authorised_by: Identifier | None = None


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One line. `gross_minor` is what the customer pays for it, adjustments in; a return's is negative."""

    line_type: LineType
    article_id: _IdentifierInBulk
    quantity: _QuantityInBulk
    unit_price_minor: Amount
    gross_minor: Amount
    net_minor: Amount
    vat_rate_bp: VatRate
    scanned_code: Text | None = None
    name: Text | None = None
    adjustments: Annotated[list[Adjustment], Meta(max_length=50)] = []
    voided: bool = False


class Tender(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One way of paying; change given back is negative cash."""

    type: _IdentifierInBulk
    amount_minor: Amount


class VatTotal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The till's own total of one VAT rate."""

    vat_rate_bp: VatRate
    gross_minor: Amount
    net_minor: Amount


class Sale(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
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
        said = (
            ("business_date", self.business_date),
            ("started_at", self.started_at),
            ("ended_at", self.ended_at),
        )
        for field, text in said:
            if not _is_day(text[:10]):
                raise ValueError(f"`{field}` names no day of the calendar: {text!r}")
        _check_all([line.article_id for line in self.lines], _IDENTIFIER, "lines[{}].article_id")
        _check_all([line.quantity for line in self.lines], _QUANTITY, "lines[{}].quantity")
        _check_all([tender.type for tender in self.tenders], _IDENTIFIER, "tenders[{}].type")

    @property
    def key(self) -> bytes:
        """The sale id's 16 bytes."""
        return bytes.fromhex(self.sale_id.replace("-", ""))

    def encode(self) -> bytes:
        """Canonical bytes: two sales are the same sale exactly when these are."""
        return canonical(self)


def parse_sale(body: bytes) -> Sale:
    """Read a sale. Raises Malformed (no JSON) or InvalidSale (a field is unknown, missing, bad or said twice)."""
    return read_sale(body)[0]


def read_sale(body: bytes) -> tuple[Sale, bytes]:
    """A sale, and its canonical bytes. Raises as `parse_sale`."""
    try:
        sale = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidSale(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"not JSON: {error}") from error
    # What is written as we would write it says nothing twice; reference tills send it so.
    written = sale.encode()
    if written != body:
        _said_once.decode(body.decode())
    return sale, written


@lru_cache(maxsize=64)  # a shop sells on one day at a time
def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _check_all(texts: list[str], pattern: str, place: str) -> None:
    """Raise ValueError, naming the first place, unless each text matches."""
    together = "\n".join(texts)
    # No text that matches holds a line feed: as many of them as stand between the texts are those.
    if together.count("\n") == len(texts) - 1 and _MANY[pattern].fullmatch(together):
        return
    for number, text in enumerate(texts):
        if not re.search(pattern, text):
            raise ValueError(f"Expected `str` matching regex {pattern!r} - at `$.{place.format(number)}`")


_MANY = {
    _IDENTIFIER: re.compile(r"[!-~][ -~]*(\n[!-~][ -~]*)*"),
    _QUANTITY: re.compile(r"-?(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?(\n-?(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?)*"),
}


def _refuse_twice(members: list[tuple[str, Any]]) -> None:
    if len(dict(members)) < len(members):
        names = [name for name, _ in members]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidSale(f"`{twice}` is said twice in one object")


_decoder = msgspec.json.Decoder(Sale)
# msgspec takes the last of two members of one name, others the first: nobody could say what the till meant (RFC 8259
# section 4). This second look costs about as much as the first.
_said_once = json.JSONDecoder(object_pairs_hook=_refuse_twice)

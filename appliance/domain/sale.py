"""A sale as a till tells it. Names follow ARTS POSLog; see docs/GLOSSARY.md.

Parsing decides only whether a sale can be *read*; what reads but does not add up is accepted and flagged
(`domain/flags.py`), because a sale that happened is a fact (design promise 7).
"""

import json
import re
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from typing import Annotated, Any, Literal, NoReturn

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
_INSTANT = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]{1,9})?"
    r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$(?!\n)"
)
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$(?!\n)"
_CURRENCY = r"^[A-Z]{3}$(?!\n)"
_SALE_ID = r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$(?!\n)"
_SALE_ID_IS = "UUIDv7 (RFC 9562), lower case, made by the till: the idempotency key"
Identifier = Annotated[str, Meta(min_length=1, max_length=64, pattern=_IDENTIFIER)]
Text = Annotated[str, Meta(max_length=200)]
Amount = Annotated[int, Meta(ge=-money.AMOUNT_MINOR_MAX, le=money.AMOUNT_MINOR_MAX)]
VatRate = Annotated[int, Meta(ge=0, le=10_000, description="basis points: 2000 is 20 %")]
Quantity = Annotated[str, Meta(max_length=18, pattern=_QUANTITY)]
Instant = Annotated[str, Meta(pattern=_INSTANT, max_length=35, description="RFC 3339")]
BusinessDate = Annotated[str, Meta(pattern=_DATE, description="a plain date")]
Currency = Annotated[str, Meta(pattern=_CURRENCY, description="ISO 4217")]
SaleId = Annotated[str, Meta(pattern=_SALE_ID, description=_SALE_ID_IS)]
# In a sale the patterns are checked for all texts of a kind at once (`Sale.__post_init__`): one by one they cost more
# than half of reading it.
_IdentifierInBulk = Annotated[
    str, Meta(min_length=1, max_length=64, extra_json_schema={"pattern": _IDENTIFIER})
]
_QuantityInBulk = Annotated[str, Meta(max_length=18, extra_json_schema={"pattern": _QUANTITY})]
_InstantInBulk = Annotated[
    str, Meta(max_length=35, description="RFC 3339", extra_json_schema={"pattern": _INSTANT})
]
_DateInBulk = Annotated[str, Meta(description="a plain date", extra_json_schema={"pattern": _DATE})]
_CurrencyInBulk = Annotated[str, Meta(description="ISO 4217", extra_json_schema={"pattern": _CURRENCY})]
_SaleIdInBulk = Annotated[str, Meta(description=_SALE_ID_IS, extra_json_schema={"pattern": _SALE_ID})]
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

    sale_id: _SaleIdInBulk
    till_id: _IdentifierInBulk
    ticket_number: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    business_date: _DateInBulk
    started_at: _InstantInBulk
    ended_at: _InstantInBulk
    operator_id: _IdentifierInBulk
    currency: _CurrencyInBulk
    mode: Mode
    lines: Annotated[list[Line], Meta(min_length=1, max_length=LINES_MAX)]
    tenders: Annotated[list[Tender], Meta(max_length=TENDERS_MAX)]
    vat_totals: Annotated[list[VatTotal], Meta(max_length=20)]
    total_minor: Amount
    shift_id: _IdentifierInBulk | None = None
    training: bool = False
    catalogue_version: Annotated[int, Meta(ge=0, le=2**53 - 1)] | None = None
    customer_id: _IdentifierInBulk | None = None

    def __post_init__(self) -> None:
        names = [line.article_id for line in self.lines]
        names += [tender.type for tender in self.tenders]
        names += (self.till_id, self.operator_id, self.shift_id or _UNSAID, self.customer_id or _UNSAID)
        day, started_at, ended_at = self.business_date, self.started_at, self.ended_at
        if not (
            _OWN.fullmatch(f"{self.sale_id}\n{self.currency}\n{day}\n{started_at}\n{ended_at}")
            and _all_match(names, _NAMES)
            and _all_match([line.quantity for line in self.lines], _QUANTITIES)
        ):
            _name_the_first_mismatch(self)
        # A ticket nearly always begins and ends on its business date.
        if not (started_at.startswith(day) and ended_at.startswith(day) and _is_day(day)):
            _check_days(self)

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


def _check_days(sale: "Sale") -> None:
    """Raise ValueError, naming the first date of a sale that the calendar does not have."""
    said = {
        "business_date": sale.business_date,
        "started_at": sale.started_at,
        "ended_at": sale.ended_at,
    }
    for field, text in said.items():
        if not _is_day(text[:10]):
            raise ValueError(f"`{field}` names no day of the calendar: {text!r}")


def _all_match(texts: list[str], many: re.Pattern[str]) -> bool:
    """Whether each text is one of those that `many` repeats, with line feeds between them."""
    together = "\n".join(texts)
    # No text that matches holds a line feed: as many of them as stand between the texts are those.
    return together.count("\n") == len(texts) - 1 and many.fullmatch(together) is not None


def _name_the_first_mismatch(sale: "Sale") -> NoReturn:
    """Raise ValueError, naming the first text of a sale that does not match."""
    for place, text, pattern in _patterned(sale):
        if not re.search(pattern, text):
            raise ValueError(f"Expected `str` matching regex {pattern!r} - at `$.{place}`")
    raise AssertionError("one of them does not match")


def _patterned(sale: "Sale") -> Iterator[tuple[str, str, str]]:
    """Each text of a sale that has a pattern: where it stands, the text, the pattern."""
    yield "sale_id", sale.sale_id, _SALE_ID
    yield "till_id", sale.till_id, _IDENTIFIER
    yield "business_date", sale.business_date, _DATE
    yield "started_at", sale.started_at, _INSTANT
    yield "ended_at", sale.ended_at, _INSTANT
    yield "operator_id", sale.operator_id, _IDENTIFIER
    yield "currency", sale.currency, _CURRENCY
    for number, line in enumerate(sale.lines):
        yield f"lines[{number}].article_id", line.article_id, _IDENTIFIER
        yield f"lines[{number}].quantity", line.quantity, _QUANTITY
    for number, tender in enumerate(sale.tenders):
        yield f"tenders[{number}].type", tender.type, _IDENTIFIER
    yield "shift_id", sale.shift_id or _UNSAID, _IDENTIFIER
    yield "customer_id", sale.customer_id or _UNSAID, _IDENTIFIER


# Stands for an identifier that need not be said; an empty one is refused by its length.
_UNSAID = "-"


def _bare(pattern: str) -> str:
    """A pattern without its ends, and without groups that remember what they met: those cost time."""
    return pattern.removeprefix("^").removesuffix(r"$(?!\n)").replace("(", "(?:")


def _repeated(pattern: str) -> re.Pattern[str]:
    return re.compile(f"(?:{_bare(pattern)})(?:\n(?:{_bare(pattern)}))*")


_OWN = re.compile("\n".join(f"(?:{_bare(p)})" for p in (_SALE_ID, _CURRENCY, _DATE, _INSTANT, _INSTANT)))
_NAMES, _QUANTITIES = _repeated(_IDENTIFIER), _repeated(_QUANTITY)


def _refuse_twice(members: list[tuple[str, Any]]) -> None:
    if len(dict(members)) < len(members):
        names = [name for name, _ in members]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidSale(f"`{twice}` is said twice in one object")


_decoder = msgspec.json.Decoder(Sale)
# msgspec takes the last of two members of one name, others the first: nobody could say what the till meant (RFC 8259
# section 4). This second look costs about as much as the first.
_said_once = json.JSONDecoder(object_pairs_hook=_refuse_twice)

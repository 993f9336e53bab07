"""Amounts, quantities and VAT: integers and decimals, never floats.

Amounts are integers in the currency's minor unit (ISO 4217); VAT rates are basis points (2000 is 20 %); quantities
are decimal text. Rounding is half up (away from zero at the tie), as tills and tax forms do it.
"""

import re
from decimal import ROUND_HALF_UP, Context, Decimal

# Far above any till's ticket, far below 2**53, so that every JSON reader keeps it exact (RFC 8785 section 3.2.2.3).
AMOUNT_MINOR_MAX = 10**12

# Digits enough for every product exactly and every quotient rounded once, whatever context the caller has set.
_EXACT = Context(prec=40, rounding=ROUND_HALF_UP)
_QUANTITY = re.compile(r"-?(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?", re.ASCII)


def quantity(text: str) -> Decimal | None:
    """The number a quantity's text stands for, or None: up to 9 digits, 6 decimals, no exponent, no plus sign."""
    return Decimal(text) if _QUANTITY.fullmatch(text) else None


def times(unit_minor: int, amount: Decimal) -> int:
    """unit x amount, rounded half up to a minor unit."""
    return _round(_EXACT.multiply(Decimal(unit_minor), amount))


def net_of(gross_minor: int, vat_rate_bp: int) -> int:
    """The amount without VAT of a price that includes it, rounded half up."""
    return _round(_EXACT.divide(Decimal(gross_minor * 10_000), Decimal(10_000 + vat_rate_bp)))


def _round(value: Decimal) -> int:
    return int(value.quantize(Decimal(1), context=_EXACT))

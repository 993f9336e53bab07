"""Amounts, quantities and VAT: integers and decimals, never floats.

Amounts are integers in the currency's minor unit (ISO 4217); VAT rates are basis points (2000 is 20 %); quantities
are decimal text. Rounding is half up (away from zero at the tie), as tills and tax forms do it.
"""

import re
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import lru_cache

# Far above any till's ticket, far below 2**53, so that every JSON reader keeps it exact (RFC 8785 section 3.2.2.3).
AMOUNT_MINOR_MAX = 10**12

# Digits enough for every product exactly, whatever context the caller has set.
_EXACT = Context(prec=40, rounding=ROUND_HALF_UP)
_POWERS = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
# Each line of each sale is reckoned again, and a shop sells the same few hundred articles all day: these many results
# of each kind are remembered, a quarter of a megabyte.
_REMEMBERED = 1_024
_QUANTITY = re.compile(r"-?(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?", re.ASCII)


def quantity(text: str) -> Decimal | None:
    """The number a quantity's text stands for, or None: up to 9 digits, 6 decimals, no exponent, no plus sign."""
    return Decimal(text) if _QUANTITY.fullmatch(text) else None


def times(unit_minor: int, amount: Decimal) -> int:
    """unit x amount, rounded half up to a minor unit."""
    product = _EXACT.multiply(Decimal(unit_minor), amount)
    return int(product.quantize(Decimal(1), context=_EXACT))


@lru_cache(maxsize=_REMEMBERED)
def extended(unit_minor: int, quantity_text: str) -> int:
    """unit x quantity, rounded half up, from the text of a quantity that has been checked (see `quantity`).

    The same as `times`, in integers.
    """
    if "." not in quantity_text:
        return unit_minor * int(quantity_text)
    whole, _, decimals = quantity_text.partition(".")
    return _half_up(unit_minor * int(whole + decimals), _POWERS[len(decimals)])


@lru_cache(maxsize=_REMEMBERED)
def net_of(gross_minor: int, vat_rate_bp: int) -> int:
    """The amount without VAT of a price that includes it, rounded half up."""
    return _half_up(gross_minor * 10_000, 10_000 + vat_rate_bp)


def _half_up(value: int, divisor: int) -> int:
    """value / divisor, away from zero at the tie; the divisor is above zero."""
    if value < 0:
        return -((divisor - 2 * value) // (2 * divisor))
    return (2 * value + divisor) // (2 * divisor)

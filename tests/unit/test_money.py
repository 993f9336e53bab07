"""Amounts: exact, and rounded as tills do."""

from decimal import Decimal, getcontext, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.money import AMOUNT_MINOR_MAX, extended, net_of, quantity, times

amounts = st.integers(-AMOUNT_MINOR_MAX, AMOUNT_MINOR_MAX)
rates = st.integers(0, 10_000)
quantities = st.decimals(-999_999_999, 999_999_999, places=6)


def half_up(value: Fraction) -> int:
    """Round to the nearest integer, away from zero at the tie, by integers alone."""
    sign = -1 if value < 0 else 1
    return sign * ((2 * abs(value.numerator) + value.denominator) // (2 * value.denominator))


@pytest.mark.parametrize(
    ("unit", "amount", "rounded"),
    [
        (1, "0.5", 1),
        (1, "-0.5", -1),
        (-1, "0.5", -1),
        (-1, "-0.5", 1),
        (5, "0.5", 3),  # not 2, as banker's rounding would
        (3, "-0.5", -2),
        (1, "0.499999", 0),
        (-1, "0.499999", 0),
        (1_299, "1.275", 1_656),
        (0, "-3", 0),
    ],
)
def test_a_tie_goes_away_from_zero(unit: int, amount: str, rounded: int) -> None:
    assert times(unit, Decimal(amount)) == rounded


@pytest.mark.parametrize(
    ("gross", "rate", "net"),
    [
        (1_299, 2_000, 1_083),
        (-1_299, 2_000, -1_083),
        (1, 10_000, 1),
        (-1, 10_000, -1),
        (3, 10_000, 2),
        (105, 0, 105),
    ],
)
def test_net_is_rounded_the_same_way(gross: int, rate: int, net: int) -> None:
    assert net_of(gross, rate) == net


@given(amounts, quantities)
def test_a_product_is_the_exact_one_rounded_once(unit: int, amount: Decimal) -> None:
    assert times(unit, amount) == half_up(unit * Fraction(amount))


@given(
    amounts, st.from_regex(r"-?(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?", fullmatch=True, alphabet="-.0123456789")
)
def test_the_price_of_a_quantity_as_it_is_written_is_that_of_its_number(unit: int, text: str) -> None:
    amount = quantity(text)
    assert amount is not None

    assert extended(unit, text) == times(unit, amount)


@given(amounts, rates)
def test_a_net_is_the_exact_one_rounded_once(gross: int, rate: int) -> None:
    assert net_of(gross, rate) == half_up(Fraction(gross * 10_000, 10_000 + rate))


@given(amounts, rates)
def test_a_return_is_the_mirror_of_its_sale(gross: int, rate: int) -> None:
    assert net_of(-gross, rate) == -net_of(gross, rate)


def test_the_largest_ticket_is_still_exact() -> None:
    assert times(AMOUNT_MINOR_MAX, Decimal("999999999.999999")) == 999_999_999_999_999 * 10**6
    assert net_of(1_000 * AMOUNT_MINOR_MAX, 1) == half_up(Fraction(10**19, 10_001))


def test_the_caller_cannot_spoil_a_sum_with_a_coarse_context() -> None:
    with localcontext() as context:
        context.prec = 3
        assert net_of(123_456_789, 0) == 123_456_789
        assert times(123_456_789, Decimal("2.000001")) == 246_913_701
    assert getcontext().prec == 28


@pytest.mark.parametrize(
    "text", ["0", "-0", "1", "-1", "0.5", "999999999.999999", "-999999999", "10", "1.000000"]
)
def test_a_quantity_is_read_as_the_number_it_says(text: str) -> None:
    assert quantity(text) == Decimal(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "1 ", " 1", "1\n", "+1", "--1", "01", "00", "1.", ".5", "1,5", "1e3", "1E3", "1_0", "0x1"),
        *("NaN", "Infinity", "-Infinity", "1000000000", "0.0000001", "1.2.3", "٣", "１", "½"),  # noqa: RUF001
    ],
)
def test_what_is_no_plain_decimal_is_no_quantity(text: str) -> None:
    assert quantity(text) is None

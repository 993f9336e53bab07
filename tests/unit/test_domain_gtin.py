"""GTINs: the four lengths of one article meet, and nothing else is let through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import ean

from appliance.domain import gtin

bodies = st.text("0123456789", min_size=7, max_size=13).filter(lambda body: len(body) in (7, 11, 12, 13))


@given(bodies)
def test_the_check_digit_is_the_one_that_an_independent_implementation_finds(body: str) -> None:
    assert ean.is_valid(body + gtin.check_digit(body))


@given(bodies, st.integers(min_value=0), st.integers(1, 9))
def test_one_wrong_digit_is_always_noticed(body: str, place: int, by: int) -> None:
    code = body + gtin.check_digit(body)
    place %= len(code)
    wrong = code[:place] + str((int(code[place]) + by) % 10) + code[place + 1 :]

    assert gtin.normalise(wrong) is None


@given(st.text("0123456789", min_size=7, max_size=7))
def test_all_four_lengths_of_a_code_meet_in_one_form(body: str) -> None:
    gtin8 = body + gtin.check_digit(body)
    forms = {gtin.normalise(gtin8.zfill(length)) for length in gtin.LENGTHS}

    assert forms == {gtin8.zfill(14)}


def test_a_upc_is_the_ean_with_a_zero_before_it() -> None:
    assert gtin.normalise("036000291452") == gtin.normalise("0036000291452") == "00036000291452"


def test_white_space_around_a_code_does_not_count() -> None:
    assert gtin.normalise(" 4006381333931\r\n") == "04006381333931"


@pytest.mark.parametrize(
    "code",
    [
        "",
        "0",
        "4006381333930",
        "400638133393",
        "400638133393a",
        "4006381 33931",
        "-4006381333931",
        "4006381333931" * 2,
        "٤٠٠٦٣٨١٣٣٣٩٣١",
        "²²²²²²²²",
    ],
)
def test_what_is_no_gtin_is_refused(code: str) -> None:
    assert gtin.normalise(code) is None

"""One value, one sequence of bytes; the judge is an independent implementation of RFC 8785."""

import random
from typing import Any

import msgspec
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.canonical import canonical
from tests.fakes.sales import a_trading_day

ascii_keys = st.text(st.characters(max_codepoint=127), max_size=12)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
integers = st.integers(-(2**53) + 1, 2**53 - 1)
values = st.recursive(
    st.none() | st.booleans() | integers | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(ascii_keys, inner, max_size=5),
    max_leaves=30,
)


@given(values)
def test_within_the_subset_the_bytes_are_those_of_rfc_8785(value: Any) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@given(st.dictionaries(ascii_keys, integers, min_size=2, max_size=8), st.randoms(use_true_random=False))
def test_the_order_in_which_keys_were_set_does_not_show(value: dict[str, int], rng: random.Random) -> None:
    shuffled = list(value.items())
    rng.shuffle(shuffled)

    assert canonical(dict(shuffled)) == canonical(value)


@given(values)
def test_what_is_read_back_is_encoded_to_the_same_bytes(value: Any) -> None:
    assert canonical(msgspec.json.decode(canonical(value))) == canonical(value)


def test_a_sale_lies_within_the_subset() -> None:
    for sale in a_trading_day(random.Random(1), 20):
        assert canonical(sale) == rfc8785.dumps(msgspec.to_builtins(sale))


def test_signs_that_json_must_escape_are_escaped_in_the_one_prescribed_way() -> None:
    value = '\x00\b\t\n\f\r\x1f\x7f"\\/\u2028é€😀'

    assert canonical(value) == rfc8785.dumps(value)
    assert b"\n" not in canonical(value)

"""Damaged and strange bodies: a sale or BadInput, never anything else."""

import json
import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.sales import a_trading_day
from tests.unit.sale_bodies import read_or_refuse


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(noise: bytes) -> None:
    assert read_or_refuse(noise) is None


SALES = [sale.encode() for sale in a_trading_day(random.Random(3), 10)]
SPLINTERS = [
    b'"',
    b"\\",
    b"\\u",
    b"\\ud800",
    b"{",
    b"[",
    b"]",
    b"}",
    b":",
    b",",
    b"\n",
    b"\x00",
    b"\xff",
    b"\xf0\x9f",
]
SPLINTERS += [b"NaN", b"1e999", b"-", b"0", b"9" * 400, b"null", b"true", "é€😀".encode(), b'"till_id":"x",']


@given(st.sampled_from(SALES), st.data())
def test_a_sale_with_damaged_bytes_is_read_or_refused(body: bytes, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(body)))
        end = min(len(body), start + data.draw(st.integers(0, 12)))
        splinter = data.draw(st.sampled_from(SPLINTERS) | st.binary(max_size=4))
        body = body[:start] + splinter + body[end:]
    read_or_refuse(body)


def places_in(value: Any) -> list[tuple[Any, Any]]:
    """Each (container, key) of a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, inner in items for place in [(value, key), *places_in(inner)]]


strange_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)
near_misses = st.sampled_from(
    [
        "",
        "0",
        "1\n",
        "-0",
        "1e3",
        "2026-02-30",
        "2026-11-22\n",
        "EUR\n",
        0,
        -1,
        2**53,
        2**63,
        2**64,
        1.0,
        -0.0,
        10**30,
    ]
)


@given(st.sampled_from(SALES), st.data())
def test_a_sale_with_a_strange_value_anywhere_is_read_or_refused(body: bytes, data: st.DataObject) -> None:
    sale = json.loads(body)
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(places_in(sale)))
        container[key] = data.draw(near_misses | strange_values)
    read_or_refuse(json.dumps(sale).encode())

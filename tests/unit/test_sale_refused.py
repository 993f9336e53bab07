"""What is no sale is refused with the place of the fault, and costs nothing."""

import json
from typing import Any

import pytest

from appliance.domain.errors import BadInput, InvalidSale, Malformed
from appliance.domain.event import PLACE_MAX
from appliance.domain.money import AMOUNT_MINOR_MAX
from appliance.domain.sale import LINES_MAX, parse_sale
from tests.fakes.sales import a_sale_id, a_sale_json
from tests.unit.sale_bodies import VALID, a_line_json

# --- what is not JSON


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        VALID[:-1],
        VALID + b"}",
        VALID + VALID,
        b"\xef\xbb\xbf" + VALID,
        VALID.decode().encode("utf-16"),
        VALID.decode().encode("utf-16-le"),
        VALID.decode().encode("utf-32"),
        VALID.replace(b"socks-42", b"socks\xff42"),
        VALID.replace(b"socks-42", b"socks\xed\xa0\x8042"),  # a surrogate, encoded as if it were a letter
        VALID.replace(b"socks-42", rb"socks\ud800"),  # half of a pair
        VALID.replace(b"socks-42", rb"socks\udc00\ud800"),
        VALID.replace(b"socks-42", b"socks\x0042"),
        VALID.replace(b"1299", b"NaN", 1),
        VALID.replace(b"1299", b"Infinity", 1),
        VALID.replace(b"1299", b"-Infinity", 1),
        VALID.replace(b"1299", b"01299", 1),
        VALID.replace(b"1299", b"0x10", 1),
        VALID.replace(b'"', b"'"),
        VALID.replace(b"}", b",}"),
        b'{"later":' + b"[" * 60_000,
        b'{"later":' * 10_000,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_is_not_json_is_bad_input_and_nothing_worse(body: bytes) -> None:
    with pytest.raises(BadInput):
        parse_sale(body)


@pytest.mark.parametrize(
    "body", [b"{", VALID + b"}", VALID.decode().encode("utf-16"), VALID.replace(b"1299", b"NaN", 1)]
)
def test_malformed_is_told_from_invalid(body: bytes) -> None:
    with pytest.raises(Malformed):
        parse_sale(body)


def test_sixty_kilobytes_of_brackets_cost_nothing() -> None:
    for place in (b"", VALID[:-1] + b',"later":', VALID.split(b'"lines":')[0] + b'"lines":'):
        with pytest.raises(BadInput):
            parse_sale(place + b"[" * 60_000)


# --- what is JSON, but no sale


@pytest.mark.parametrize(
    "fields",
    [
        {"sale_id": "00000000-0000-4000-8000-000000000000"},  # version 4
        {"sale_id": a_sale_id(1).upper()},
        {"sale_id": a_sale_id(1) + "\n"},
        {"till_id": ""},
        {"till_id": " x"},
        {"till_id": "x\n"},
        {"till_id": "x" * 65},
        {"till_id": "é"},
        {"ticket_number": 0},
        {"ticket_number": PLACE_MAX + 1},
        {"ticket_number": 10**400},
        {"ticket_number": "1"},
        {"ticket_number": 1.0},
        {"ticket_number": True},
        {"business_date": "2026-02-30"},
        {"business_date": "2026-13-01"},
        {"business_date": "0000-01-01"},
        {"business_date": "2026-11-22\n"},
        {"business_date": "20261122"},
        {"business_date": "٢٠٢٦-11-22"},
        {"started_at": "2026-02-30T08:30:00Z"},
        {"ended_at": "2026-02-30T08:30:00Z"},
        {"ended_at": "2026-11-22T24:00:00Z"},
        {"ended_at": "2026-11-22T08:60:00Z"},
        {"ended_at": "2026-11-22T08:30:61Z"},
        {"ended_at": "2026-11-22T08:30:00+24:00"},
        {"ended_at": "2026-11-22T08:30:00"},
        {"ended_at": "2026-11-22T08:30:00Z\n"},
        {"ended_at": "2026-11-22 08:30:00Z"},
        {"currency": "eur"},
        {"currency": "EUR\n"},
        {"mode": "offline"},
        {"lines": []},
        {"lines": [a_line_json()] * (LINES_MAX + 1)},
        {"tenders": [{"type": "cash", "amount_minor": 1}] * 51},
        {"vat_totals": [{"vat_rate_bp": 0, "gross_minor": 0, "net_minor": 0}] * 21},
        {"total_minor": 12.99},
        {"total_minor": AMOUNT_MINOR_MAX + 1},
        {"total_minor": None},
        {"training": 0},
        {"catalogue_version": -1},
        {"later": 1},
        {"lines": [a_line_json(later=1)]},
        {"lines": [a_line_json(quantity=1)]},
        {"lines": [a_line_json(quantity="1\n")]},
        {"lines": [a_line_json(quantity="1e3")]},
        {"lines": [a_line_json(quantity="NaN")]},
        {"lines": [a_line_json(quantity="0" * 19)]},
        {"lines": [a_line_json(), a_line_json(article_id="a\nb")]},
        {"lines": [a_line_json(article_id="a\n"), a_line_json()]},
        {"lines": [a_line_json(article_id="é")]},
        {"lines": [a_line_json(quantity="1\n2"), a_line_json()]},
        {"tenders": [{"type": "cash\ncard", "amount_minor": 1}]},
        {"tenders": [{"type": " cash", "amount_minor": 1}]},
        {"lines": [a_line_json(line_type="gift")]},
        {"lines": [a_line_json(vat_rate_bp=10_001)]},
        {"lines": [a_line_json(vat_rate_bp=-1)]},
        {"lines": [a_line_json(name="x" * 201)]},
        {"lines": [a_line_json(adjustments=[{"reason": "x", "amount_minor": 1}] * 51)]},
        {"lines": None},
    ],
    ids=lambda fields: repr(fields)[:48],
)
def test_a_value_that_breaks_a_rule_of_reading_is_invalid(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidSale):
        parse_sale(json.dumps(json.loads(VALID) | fields).encode())


@pytest.mark.parametrize("body", [b"null", b"[]", b"1", b'"sale"', b"[" * 60_000])
def test_json_that_is_no_object_is_no_sale(body: bytes) -> None:
    with pytest.raises(InvalidSale):
        parse_sale(body)


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"1e3", b"1299.0", b"9" * 5_000])
def test_a_number_beyond_reason_is_invalid(number: bytes) -> None:
    with pytest.raises(InvalidSale):
        parse_sale(VALID.replace(b"1299", number, 1))


@pytest.mark.parametrize(
    ("place", "again"),
    [
        (b'"total_minor":1299', b'"total_minor":1'),
        (b'"total_minor":1299', b'"total_minor":1299'),
        (b'"quantity":"1"', b'"quantity":"2"'),
        (b'"type":"cash"', b'"type":"card"'),
        (b'"type":"cash"', rb'"t\u0079pe":"card"'),
    ],
)
def test_a_member_said_twice_leaves_open_what_was_meant(place: bytes, again: bytes) -> None:
    assert VALID.count(place) == 1
    with pytest.raises(InvalidSale, match="twice"):
        parse_sale(VALID.replace(place, place + b"," + again))


def test_the_answer_names_the_place_of_the_fault() -> None:
    with pytest.raises(InvalidSale, match=r"\$\.lines\[1\]\.quantity"):
        parse_sale(a_sale_json(lines=[a_line_json(), a_line_json(quantity="many")]))
    with pytest.raises(InvalidSale, match=r"\$\.lines\[2\]\.article_id"):
        parse_sale(a_sale_json(lines=[a_line_json(), a_line_json(), a_line_json(article_id="\n")]))
    with pytest.raises(InvalidSale, match="started_at"):
        parse_sale(a_sale_json(started_at="2026-02-30T00:00:00Z"))


@pytest.mark.parametrize("bad", ["", "\n", "é", "x\n", "x\ny"])
@pytest.mark.parametrize(
    "field",
    [
        "sale_id",
        "till_id",
        "business_date",
        "started_at",
        "ended_at",
        "operator_id",
        "currency",
        "shift_id",
        "customer_id",
    ],
)
def test_a_text_of_another_form_is_named_whatever_stands_around_it(field: str, bad: str) -> None:
    good = json.loads(VALID).get(field) or "A"

    for text in {bad, good + bad, bad + good} - {good}:
        with pytest.raises(InvalidSale, match=rf"\$\.{field}`"):
            parse_sale(a_sale_json(**{field: text}))

"""Sales: what can be read is read as it was meant, what does not add up is flagged, and nothing else can happen."""

import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.errors import BadInput, InvalidSale, Malformed
from appliance.domain.event import EVENT_BYTES_MAX, GENESIS, PLACE_MAX, ClockReading, Position, seal
from appliance.domain.flags import flags
from appliance.domain.money import AMOUNT_MINOR_MAX
from appliance.domain.sale import LINES_MAX, SALE_BYTES_MAX, Sale, Tender, parse_sale
from tests.fakes.sales import a_line, a_sale, a_sale_id, a_sale_json, a_trading_day

VALID = a_sale_json(sale_id=a_sale_id(1))


def a_line_json(**overrides: Any) -> dict[str, Any]:
    return dict(msgspec.to_builtins(a_line())) | overrides


def read_or_refuse(body: bytes) -> Sale | None:
    """The promise to everybody who calls: a sale, or BadInput; and a sale that was read can be judged and stored."""
    try:
        sale = parse_sale(body)
    except BadInput:
        return None
    flags(sale)
    assert parse_sale(sale.encode()) == sale
    return sale


# --- what is read


def test_a_sale_is_read_with_all_its_fields() -> None:
    sale = parse_sale(VALID)

    assert sale == a_sale(sale_id=a_sale_id(1))
    assert (sale.lines[0].article_id, sale.tenders[0], sale.total_minor) == (
        "socks-42",
        Tender("cash", 1_299),
        1_299,
    )


def test_what_a_till_may_leave_out_has_a_plain_default() -> None:
    optional = ["shift_id", "training", "catalogue_version", "customer_id"]
    sale = parse_sale(a_sale_json(without=optional))

    assert (sale.shift_id, sale.training, sale.catalogue_version, sale.customer_id) == (
        None,
        False,
        None,
        None,
    )


@pytest.mark.parametrize("field", [f.name for f in msgspec.structs.fields(Sale) if f.required])
def test_a_sale_without_a_required_field_is_invalid_and_the_field_named(field: str) -> None:
    with pytest.raises(InvalidSale, match=field):
        parse_sale(a_sale_json(without=[field]))


def test_the_key_is_the_sixteen_bytes_of_the_id() -> None:
    assert (
        a_sale(sale_id="019aa8f0-0000-7000-8000-000000000001").key.hex() == "019aa8f0000070008000000000000001"
    )


def test_the_same_sale_has_the_same_bytes_however_it_was_written() -> None:
    body = msgspec.json.decode(VALID)
    spread = json.dumps(dict(reversed(body.items())), indent=4).encode()
    spelled_out = json.dumps(body | {"customer_id": None, "training": False}).encode()

    assert parse_sale(spread).encode() == parse_sale(spelled_out).encode() == parse_sale(VALID).encode()
    assert (
        parse_sale(a_sale_json(sale_id=a_sale_id(1), ticket_number=2)).encode() != parse_sale(VALID).encode()
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"ended_at": "2026-11-22T09:30:00+01:00"},
        {"ended_at": "2016-12-31T23:59:60.123456789Z"},  # a leap second (RFC 3339 section 5.7)
        {"business_date": "2028-02-29"},
        {"currency": "XPF"},
        {"total_minor": -AMOUNT_MINOR_MAX},
        {"tenders": []},
        {"vat_totals": []},
        {"ticket_number": PLACE_MAX},
        {"till_id": "!"},
        {"operator_id": "x" * 64},
        {"lines": [a_line_json(name="é" * 200, scanned_code="\n")]},
        {"lines": [a_line_json(vat_rate_bp=10_000)] * LINES_MAX},
    ],
    ids=lambda fields: repr(fields)[:40],
)
def test_the_far_ends_of_what_is_allowed_are_read(fields: dict[str, Any]) -> None:
    assert read_or_refuse(a_sale_json(**fields)) is not None


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


# --- fuzzing: a sale or BadInput, never anything else


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


# --- limits that hang together


def test_the_largest_sale_makes_an_event_that_the_chain_takes() -> None:
    # Canonical bytes spell out what a till may leave out: an adjustment grows most.
    adjustments = [{"reason": "", "amount_minor": 0}] * 50
    line = a_line_json(adjustments=adjustments) | {"article_id": "a"}
    for optional in ("name", "scanned_code", "voided"):
        del line[optional]
    fit = (SALE_BYTES_MAX - len(VALID)) // (len(msgspec.json.encode(line)) + 1)
    body = a_sale_json(lines=[line] * fit)
    sale = parse_sale(body)
    clock = ClockReading("unknown", "b" * 36, 2**62)
    place = Position(PLACE_MAX, PLACE_MAX - 1, GENESIS)
    event = seal(place, box="sb-" + "a" * 16, kind="sale", till="t" * 64, at="z" * 24, clock=clock, data=sale)

    assert SALE_BYTES_MAX * 0.98 < len(body) <= SALE_BYTES_MAX
    assert len(event.body) < EVENT_BYTES_MAX


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

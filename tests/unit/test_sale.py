"""Sales: what can be read is read as it was meant, and its limits hang together."""

import json
from typing import Any

import msgspec
import pytest

from appliance.domain.errors import InvalidSale
from appliance.domain.event import EVENT_BYTES_MAX, GENESIS, PLACE_MAX, ClockReading, Position, seal
from appliance.domain.money import AMOUNT_MINOR_MAX
from appliance.domain.sale import LINES_MAX, SALE_BYTES_MAX, Sale, Tender, parse_sale
from tests.fakes.sales import a_sale, a_sale_id, a_sale_json
from tests.unit.sale_bodies import VALID, a_line_json, read_or_refuse

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

"""A sale that happened is a fact: what does not add up in it is flagged, and nothing that does is."""

import random
from collections.abc import Callable

import pytest

from appliance.domain.flags import flags
from appliance.domain.sale import Adjustment, Sale, Tender, VatTotal
from tests.fakes.sales import a_line, a_sale, a_trading_day


def test_a_day_of_sales_adds_up() -> None:
    assert [flags(sale) for sale in a_trading_day(random.Random(2), 200)] == [[]] * 200


BROKEN: dict[str, Callable[[], Sale]] = {
    "line-gross": lambda: a_sale(lines=[a_line(unit_price_minor=1_000, gross_minor=999)]),
    "line-net": lambda: a_sale(lines=[a_line(net_minor=1_082)]),
    "total-lines": lambda: a_sale(total_minor=1_300),
    "total-tenders": lambda: a_sale(tenders=[Tender("cash", 2_000), Tender("cash", -700)]),
    "vat-totals": lambda: a_sale(vat_totals=[VatTotal(2_000, 1_298, 1_083)]),
}


@pytest.mark.parametrize("code", BROKEN)
def test_each_sum_that_does_not_add_up_has_its_own_flag(code: str) -> None:
    assert flags(BROKEN[code]()) == [code]


def test_the_flags_come_in_a_fixed_order() -> None:
    wrong = a_sale(
        lines=[a_line(gross_minor=1, net_minor=5)], total_minor=7, tenders=[], vat_totals=[VatTotal(0, 1, 1)]
    )

    assert flags(wrong) == list(BROKEN)


@pytest.mark.parametrize(
    "totals",
    [
        [],
        [VatTotal(550, 1_299, 1_083)],
        [VatTotal(2_000, 1_299, 1_082)],
        [VatTotal(2_000, 1_299, 1_299)],
        [VatTotal(2_000, 1_299, 1_083), VatTotal(2_000, 1_299, 1_083)],
        [VatTotal(2_000, 1, 1), VatTotal(2_000, 1_299, 1_083)],
        [VatTotal(2_000, 1_299, 1_083), VatTotal(550, 1, 1)],
        [VatTotal(2_000, 1_299, 1_083), VatTotal(550, 0, 1)],
    ],
    ids=repr,
)
def test_vat_totals_are_held_against_the_lines_rate_by_rate(totals: list[VatTotal]) -> None:
    assert flags(a_sale(vat_totals=totals)) == ["vat-totals"]


def test_both_ways_to_compute_the_net_of_a_rate_are_right() -> None:
    lines = [a_line(unit_price_minor=104), a_line(unit_price_minor=104)]  # each 86.67, together 173.33

    assert flags(a_sale(lines=lines, vat_totals=[VatTotal(2_000, 208, 174)])) == []
    assert flags(a_sale(lines=lines, vat_totals=[VatTotal(2_000, 208, 173)])) == []
    assert flags(a_sale(lines=lines, vat_totals=[VatTotal(2_000, 208, 172)])) == ["vat-totals"]


def test_a_rate_may_be_told_in_parts_and_an_unused_one_as_nothing() -> None:
    parts = [VatTotal(2_000, 1_000, 800), VatTotal(2_000, 299, 283), VatTotal(550, 0, 0)]

    assert flags(a_sale(vat_totals=parts)) == []


def test_a_voided_line_counts_for_nothing_and_need_not_add_up() -> None:
    voided = a_line(voided=True, gross_minor=5, net_minor=9, vat_rate_bp=550)

    assert flags(a_sale(lines=[a_line(), voided])) == []
    assert flags(a_sale(lines=[voided])) == []


def test_adjustments_and_change_are_part_of_the_sums() -> None:
    line = a_line(
        quantity="3", adjustments=[Adjustment("promotion", -300), Adjustment("rounding", 3, "op-1")]
    )
    sale = a_sale(lines=[line], tenders=[Tender("cash", 5_000), Tender("cash", -1_400)])

    assert (line.gross_minor, sale.total_minor, flags(sale)) == (3_600, 3_600, [])


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"ended_at": "2026-11-22T08:29:59Z"}, []),
        ({"ended_at": "2026-11-22T08:29:58.999Z"}, ["clock-back"]),
        ({"ended_at": "2026-11-22T08:29:58Z"}, ["clock-back"]),
        ({"ended_at": "2026-11-22T09:30:00+01:00"}, []),
        ({"ended_at": "2026-11-22T08:30:00+01:00"}, ["clock-back"]),
        ({"started_at": "2026-11-22T08:30:00.500Z", "ended_at": "2026-11-22T08:30:00Z"}, []),
        ({"business_date": "2026-11-21"}, []),
        ({"business_date": "2026-11-23"}, []),
        ({"business_date": "2026-11-20"}, ["business-date"]),
        ({"business_date": "2016-11-22"}, ["business-date"]),
    ],
)
def test_the_times_of_a_ticket_are_held_against_each_other(fields: dict[str, str], found: list[str]) -> None:
    assert flags(a_sale(**fields)) == found


def test_half_a_cent_is_rounded_away_from_zero_on_sales_and_returns_alike() -> None:
    assert flags(a_sale(lines=[a_line(unit_price_minor=1, quantity="0.5", gross_minor=1)])) == []
    assert flags(a_sale(lines=[a_line(unit_price_minor=1, quantity="-0.5", gross_minor=-1)])) == []

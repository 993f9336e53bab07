"""From a basket to a ticket: every sum is right, and whoever reads it can."""

import random
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.catalogue import Article
from appliance.domain.errors import InvalidSale, TooLarge
from appliance.domain.flags import flags
from appliance.domain.sale import Adjustment, SaleId, Tender, parse_sale
from till.errors import UnknownArticle
from till.tickets import Basket, Item, Stamp, make_sale, price, uuid7

STAMP = Stamp(
    sale_id="019aab10-d8e0-7000-8000-000000000000",
    till_id="till-1",
    business_date="2026-11-22",
    started_at="2026-11-22T08:30:00.000Z",
    ended_at="2026-11-22T08:30:40.000Z",
    mode="local",
)
MILK = Article("milk", "Lait", 129, "EUR", 550)


def nothing(code: str) -> None:
    """An empty catalogue."""


items = st.builds(
    Item,
    st.sampled_from(["a", "b"]),
    quantity=st.from_regex(r"^-?(0|[1-9][0-9]{0,3})(\.[0-9]{1,3})?\Z"),
    unit_price_minor=st.integers(-10_000, 1_000_000),
    vat_rate_bp=st.sampled_from([0, 210, 550, 1_000, 2_000]),
    adjustments=st.lists(st.builds(Adjustment, st.just("promotion"), st.integers(-500, 0)), max_size=2),
)


@given(st.lists(items, min_size=1, max_size=20))
def test_whatever_is_in_the_basket_the_ticket_adds_up(lines: list[Item]) -> None:
    sale = make_sale(price(Basket(lines), nothing, catalogue_version=None), STAMP, 1)

    assert flags(sale) == []
    assert parse_sale(sale.encode()) == sale


def test_prices_names_and_rates_come_from_the_catalogue_unless_the_basket_says_otherwise() -> None:
    basket = Basket([Item("milk", "3"), Item("milk", unit_price_minor=99)])
    catalogue = {"milk": MILK}

    priced = price(basket, catalogue.get, catalogue_version=7)

    assert [(line.unit_price_minor, line.vat_rate_bp, line.name) for line in priced.lines] == [
        (129, 550, "Lait"),
        (99, 550, "Lait"),
    ]
    assert (priced.currency, priced.catalogue_version) == ("EUR", 7)


def test_what_was_scanned_decides_and_both_codes_are_kept_apart() -> None:
    catalogue = {"3017620422003": MILK}

    line = price(Basket([Item("?", scanned_code="3017620422003")]), catalogue.get, catalogue_version=1).lines[
        0
    ]

    assert (line.article_id, line.scanned_code) == ("milk", "3017620422003")


def test_without_tenders_the_whole_is_paid_by_card() -> None:
    basket = Basket([Item("a", "2", unit_price_minor=500, vat_rate_bp=0)])
    cash = msgspec.structs.replace(basket, tenders=[Tender("cash", 2_000), Tender("cash", -1_000)])

    by_card = make_sale(price(basket, nothing, catalogue_version=None), STAMP, 1)
    by_cash = make_sale(price(cash, nothing, catalogue_version=None), STAMP, 1)

    assert by_card.tenders == [Tender("card", 1_000)]
    assert by_cash.tenders == cash.tenders
    assert flags(by_cash) == []


def test_a_line_without_a_price_is_an_unknown_article() -> None:
    with pytest.raises(UnknownArticle, match="beer"):
        price(Basket([Item("beer")]), nothing, catalogue_version=None)


def test_one_ticket_has_one_currency() -> None:
    with pytest.raises(InvalidSale, match="EUR, GBP"):
        price(Basket([Item("milk")], currency="GBP"), {"milk": MILK}.get, catalogue_version=None)


def test_an_amount_out_of_range_makes_no_ticket() -> None:
    basket = Basket([Item("a", "999999999", unit_price_minor=10**12, vat_rate_bp=0)])

    with pytest.raises(InvalidSale):
        make_sale(price(basket, nothing, catalogue_version=None), STAMP, 1)


def test_a_ticket_that_no_box_would_take_makes_no_ticket() -> None:
    basket = Basket([Item("a", unit_price_minor=1, vat_rate_bp=0, name="n" * 200)] * 1_000)

    with pytest.raises(TooLarge):
        make_sale(price(basket, nothing, catalogue_version=None), STAMP, 1)


def test_a_basket_in_a_script_may_say_as_little_as_a_code() -> None:
    basket = msgspec.json.decode(b'{"lines": [{"article_id": "milk"}]}', type=Basket)

    assert basket == Basket([Item("milk")])


@given(st.integers(0, 2**48 - 1), st.integers())
def test_an_id_is_a_uuid7_of_its_moment(unix_ms: int, seed: int) -> None:
    made = uuid7(unix_ms, random.Random(seed))

    assert msgspec.convert(made, SaleId) == made
    assert int(made.replace("-", "")[:12], 16) == unix_ms


def test_ids_of_one_moment_differ_and_later_ones_sort_later() -> None:
    rng = random.Random(1)

    made = [uuid7(1_000 + step // 100, rng) for step in range(1_000)]

    assert len(set(made)) == len(made)
    assert [m[:13] for m in made] == sorted(m[:13] for m in made)
    assert re.fullmatch(r"[0-9a-f-]{36}", made[0])

"""A trading day as scripts: everything that a ticket can hold is kept, and nothing crashes the shop."""

import csv
import gzip
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.flags import flags
from appliance.domain.sale import LINES_MAX
from demo.trading import (
    OPERATIONS,
    Day,
    day_of,
    faster,
    fit,
    read_rows,
    spread,
    sprinkle,
)
from till.script import Step, read_step
from till.tickets import Basket, Item, Stamp, make_sale, price

COLUMNS = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
STAMP = Stamp(
    sale_id="019aab10-d8e0-7000-8000-000000000000",
    till_id="till-1",
    business_date="2026-11-22",
    started_at="2026-11-22T08:30:00Z",
    ended_at="2026-11-22T08:30:00Z",
    mode="local",
)


def rows_of(*lines: str) -> list[dict[str, str | None]]:
    return list(csv.DictReader([COLUMNS, *lines]))


def a_row(
    invoice: str = "1", quantity: str = "1", price: str = "1.00", at: str = "2011-12-05 08:38:00"
) -> str:
    return f"{invoice},23084,RABBIT NIGHT LIGHT ,{quantity},{at},{price},14075.0,United Kingdom"


def test_the_lines_of_an_invoice_are_one_ticket_in_their_order() -> None:
    day = day_of(rows_of(a_row("7", "48", "1.79"), a_row("8"), a_row("7", "20", "0.005")))

    assert [len(ticket.basket.lines) for ticket in day.tickets] == [2, 1]
    first = day.tickets[0].basket
    assert first.lines[0] == Item(
        "23084", "48", unit_price_minor=179, vat_rate_bp=2_000, name="RABBIT NIGHT LIGHT", line_type="sale"
    )
    assert first.lines[1].unit_price_minor == 1, "half a penny rounds up"
    assert (first.currency, first.customer_id) == ("GBP", "14075")
    assert (day.rows_kept, day.rows_unreadable) == (3, 0)


@pytest.mark.parametrize(("invoice", "quantity"), [("C9", "-24"), ("C9", "24"), ("9", "-24")])
def test_cancellations_and_negative_quantities_are_returns(invoice: str, quantity: str) -> None:
    (ticket,) = day_of(rows_of(a_row(invoice, quantity))).tickets

    assert (ticket.basket.lines[0].line_type, ticket.basket.lines[0].quantity) == ("return", "-24")


def test_what_is_odd_but_real_is_kept() -> None:
    day = day_of(
        rows_of(
            a_row("1", "80995", "0.0"),
            "2,M,,1,12/5/2011 9:05,-11062.06,,Germany",
            a_row("3", "0"),
        )
    )

    assert day.rows_unreadable == 0
    manual = next(t.basket for t in day.tickets if t.basket.lines[0].article_id == "M")
    assert (manual.customer_id, manual.lines[0].name, manual.lines[0].unit_price_minor) == (
        None,
        None,
        -1_106_206,
    )


@pytest.mark.parametrize(
    "line",
    [
        "",
        ",,,,,,,",
        a_row("1", "one"),
        a_row("1", "1.5"),
        a_row("1", "1000000000"),
        a_row("1", "1", "NaN"),
        a_row("1", "1", "Infinity"),
        a_row("1", "1", "free"),
        a_row("1", "1", "1e99"),
        a_row("1", at="yesterday"),
        "1,é,name,1,2011-12-05 08:38:00,1.00,,UK",
        "1,23084",
    ],
)
def test_what_cannot_be_read_is_counted_and_the_rest_is_kept(line: str) -> None:
    day = day_of([*csv.DictReader([COLUMNS, line or ","]), *rows_of(a_row())])

    assert (day.rows_kept, day.rows_unreadable) == (1, 1)
    assert len(day.tickets) == 1


@given(st.lists(st.dictionaries(st.sampled_from(COLUMNS.split(",")), st.none() | st.text(max_size=12))))
def test_no_row_crashes_the_reader(rows: list[dict[str, str | None]]) -> None:
    day = day_of(rows)

    assert day.rows_kept + day.rows_unreadable == len(rows)


def test_an_invoice_longer_than_a_ticket_becomes_several_right_after_one_another() -> None:
    day = day_of(rows_of(*[a_row()] * (2 * LINES_MAX + 1)))

    assert day.invoices_split == 1
    assert sum(len(ticket.basket.lines) for ticket in day.tickets) == 2 * LINES_MAX + 1
    assert {ticket.at_s for ticket in day.tickets} == {0.0}
    for ticket in day.tickets:
        make_sale(
            price(ticket.basket, lambda code: None, catalogue_version=None), STAMP, 1
        )  # none is too large


def test_tickets_come_in_order_of_time_from_the_first_on() -> None:
    day = day_of(
        rows_of(a_row("2", at="2011-12-05 09:00:00"), a_row("1"), a_row("3", at="2011-12-05 08:38:30"))
    )

    assert [ticket.at_s for ticket in day.tickets] == [0.0, 30.0, 22 * 60.0]
    assert [ticket.at_s for ticket in faster(day.tickets, 60)] == [0.0, 0.5, 22.0]
    assert [ticket.at_s for ticket in fit(day.tickets, 44)] == [0.0, 1.0, 44.0]


def test_a_day_without_rows_or_of_one_moment_stays_what_it_is() -> None:
    assert day_of([]) == Day([])
    assert fit([], 60) == []
    tickets = day_of(rows_of(a_row())).tickets
    assert fit(tickets, 60) == tickets


def test_tickets_go_round_the_tills() -> None:
    day = day_of(rows_of(*(a_row(str(number)) for number in range(5))))

    scripts = spread(day.tickets, 2)

    assert [len(script) for script in scripts] == [3, 2]
    assert scripts[1][0].basket == day.tickets[1].basket


def test_operations_come_at_their_interval_all_seven_and_then_one_that_hides() -> None:
    script = [Step(float(second), basket=Basket([Item("a")])) for second in range(0, 160, 10)]

    mixed = sprinkle(script, every_s=10, first_s=5)

    assert [step.after_s for step in mixed] == sorted(step.after_s for step in mixed)
    assert [step for step in mixed if step in script] == script
    added = [step for step in mixed if step not in script]
    assert [step.operation for step in added[:7]] == list(OPERATIONS)
    assert len(OPERATIONS) == 7
    hidden = [step.basket.lines[0].line_type for step in added if step.basket is not None]
    assert hidden == ["credit_note"]


def test_a_script_is_what_a_till_reads() -> None:
    script = sprinkle(spread(day_of(rows_of(a_row(), a_row("2"))).tickets, 1)[0], every_s=1)

    assert [read_step(msgspec.json.encode(step)) for step in script] == script


@pytest.mark.parametrize("name", ["day.csv", "day.csv.gz"])
def test_a_file_is_read_zipped_or_not(tmp_path: Path, name: str) -> None:
    text = "\n".join([COLUMNS, a_row()]).encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)

    assert list(read_rows(tmp_path / name)) == rows_of(a_row())


def test_a_cut_archive_is_an_error_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "day.csv.gz").write_bytes(gzip.compress(a_row().encode() * 1_000)[:-20])

    with pytest.raises(OSError, match=r"day\.csv\.gz"):
        list(read_rows(tmp_path / "day.csv.gz"))


def data_files() -> list[Path]:
    folder = Path(os.environ.get("STOREBOX_DATA", Path(__file__).parents[3] / "shared" / "data"))
    return sorted(folder.glob("sales-*.csv.gz"))


def test_real_days_make_tickets_that_add_up() -> None:
    files = data_files()
    if not files:
        pytest.skip("no trading days: name their folder in STOREBOX_DATA")
    for path in files:
        day = day_of(read_rows(path))

        assert day.rows_unreadable == 0
        assert len(day.tickets) > 100
        for number, ticket in enumerate(day.tickets, start=1):
            sale = make_sale(price(ticket.basket, lambda code: None, catalogue_version=None), STAMP, number)
            assert flags(sale) == []

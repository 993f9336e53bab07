"""Turn a real trading day into scripts for tills.

The file is a CSV (gzipped or not) with the columns InvoiceNo, StockCode, Description, Quantity, InvoiceDate, UnitPrice,
CustomerID and Country: a row per line, as the UCI "Online Retail" data has it. Real data holds cancellations (invoices
that begin with C), negative quantities, prices of zero, and invoices longer than any ticket: all that a ticket can
hold is kept, and what cannot be read is counted.
"""

import csv
import gzip
import heapq
import io
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import cast

import msgspec

from appliance.domain.gate import BUILT_IN
from appliance.domain.money import times
from appliance.domain.sale import LINES_MAX, SALE_BYTES_MAX, LineType
from till.script import Step
from till.tickets import Basket, Item

# The retailer is British. Its prices are taken to include VAT; the data does not say.
CURRENCY, VAT_RATE_BP = "GBP", 2_000
OPERATORS = ("op-1", "op-2", "op-3", "op-4")
# What a finished line holds beside what its item says, and a ticket beside its lines, with room to spare.
LINE_REST_BYTES, TICKET_REST_BYTES = 160, 4_096

OPERATIONS = tuple(BUILT_IN.online_only)
# Lines of these types hide an online-only operation in a sale.
HIDING: tuple[LineType, ...] = ("credit_note", "deposit")

Columns = Mapping[str, str | None]


class Ticket(msgspec.Struct, frozen=True):
    """A basket, and when it is sold: seconds from the first ticket of the day."""

    at_s: float
    basket: Basket


class Day(msgspec.Struct, frozen=True):
    """The tickets of a day in order of time, and what became of the rows they come from."""

    tickets: list[Ticket]
    rows_kept: int = 0
    rows_unreadable: int = 0
    invoices_split: int = 0


class _Row(msgspec.Struct, frozen=True):
    invoice: str
    at: datetime
    customer_id: str | None
    item: Item


def read_rows(path: Path) -> Iterator[dict[str, str | None]]:
    """The rows of a file, by column. Raises OSError, also for a damaged archive (gzip.BadGzipFile) or a cut one."""
    with path.open("rb") as file:
        zipped = path.suffix == ".gz"
        plain = cast("io.BufferedReader", gzip.GzipFile(fileobj=file)) if zipped else file
        with io.TextIOWrapper(plain, encoding="utf-8-sig", errors="replace", newline="") as text:
            try:
                yield from csv.DictReader(text)
            except (csv.Error, EOFError) as error:
                raise OSError(f"{path}: {error}") from error


def day_of(rows: Iterable[Columns]) -> Day:
    """Group rows into tickets by invoice. One longer than a ticket becomes several, one right after the other."""
    invoices: dict[str, list[_Row]] = {}
    kept = unreadable = split = 0
    for columns in rows:
        row = _read(columns)
        if row is None:
            unreadable += 1
        else:
            kept += 1
            invoices.setdefault(row.invoice, []).append(row)
    first_at = min((lines[0].at for lines in invoices.values()), default=datetime.min.replace(tzinfo=UTC))
    tickets: list[Ticket] = []
    for lines, operator_id in zip(invoices.values(), itertools.cycle(OPERATORS), strict=False):
        baskets = list(_baskets(lines, operator_id))
        split += len(baskets) > 1
        at_s = (lines[0].at - first_at).total_seconds()
        tickets += [Ticket(at_s, basket) for basket in baskets]
    tickets.sort(key=lambda ticket: ticket.at_s)
    return Day(tickets, kept, unreadable, split)


def faster(tickets: Sequence[Ticket], speed_up: float) -> list[Ticket]:
    """The same day with the time between tickets divided by `speed_up`."""
    return [Ticket(ticket.at_s / speed_up, ticket.basket) for ticket in tickets]


def fit(tickets: Sequence[Ticket], seconds: float) -> list[Ticket]:
    """The same day in that many seconds."""
    length_s = max((ticket.at_s for ticket in tickets), default=0.0)
    return faster(tickets, length_s / seconds) if length_s > 0 else list(tickets)


def spread(tickets: Iterable[Ticket], tills: int) -> list[list[Step]]:
    """A script for each till; tickets go round."""
    scripts: list[list[Step]] = [[] for _ in range(tills)]
    for ticket, script in zip(tickets, itertools.cycle(scripts), strict=False):
        script.append(Step(ticket.at_s, basket=ticket.basket))
    return scripts


def sprinkle(script: Sequence[Step], *, every_s: float, first_s: float = 0.0) -> list[Step]:
    """The script with an online-only operation at each interval: all seven by name, then one hidden in a sale."""
    end_s = max((step.after_s for step in script), default=0.0)
    times_s = itertools.takewhile(lambda at_s: at_s <= end_s, itertools.count(first_s, every_s))
    asked = [_online_only(at_s, number) for number, at_s in enumerate(times_s)]
    return list(heapq.merge(script, asked, key=lambda step: step.after_s))


def _online_only(at_s: float, number: int) -> Step:
    in_turn, turn = number % (len(OPERATIONS) + 1), number // (len(OPERATIONS) + 1)
    if in_turn < len(OPERATIONS):
        return Step(at_s, operation=OPERATIONS[in_turn], data={"number": number})
    hiding = HIDING[turn % len(HIDING)]
    sign = "-" if hiding == "credit_note" else ""
    item = Item(hiding, f"{sign}1", unit_price_minor=2_000, vat_rate_bp=VAT_RATE_BP, line_type=hiding)
    return Step(at_s, basket=Basket([item], currency=CURRENCY, operator_id=OPERATORS[0]))


def _read(columns: Columns) -> _Row | None:
    """One row, or None when a ticket cannot hold it."""
    try:
        invoice = _text(columns, "InvoiceNo")
        quantity = int(_text(columns, "Quantity"))
        returned = invoice.startswith("C") or quantity < 0
        fields = {
            "article_id": _text(columns, "StockCode"),
            "quantity": str(-abs(quantity) if returned else quantity),
            "unit_price_minor": times(100, Decimal(_text(columns, "UnitPrice"))),
            "vat_rate_bp": VAT_RATE_BP,
            "name": (columns.get("Description") or "").strip()[:200] or None,
            "line_type": "return" if returned else "sale",
        }
        basket = {"lines": [fields], "customer_id": _customer(columns)}
        checked = msgspec.convert(basket, Basket)
        return _Row(invoice, _at(_text(columns, "InvoiceDate")), checked.customer_id, checked.lines[0])
    except (ValueError, InvalidOperation, OverflowError):  # a msgspec.ValidationError is a ValueError
        return None


def _text(columns: Columns, name: str) -> str:
    text = (columns.get(name) or "").strip()
    if not text:
        raise ValueError(f"no {name}")
    return text


def _customer(columns: Columns) -> str | None:
    # The data went through a spreadsheet that took its customers for numbers: "14075.0".
    return (columns.get("CustomerID") or "").strip().removesuffix(".0") or None


def _at(text: str) -> datetime:
    """The shop's own time; only distances between tickets matter, so it is taken as UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = datetime.strptime(text, "%m/%d/%Y %H:%M")  # noqa: DTZ007 - as the first edition of the data has it
    return at.replace(tzinfo=UTC)


def _baskets(rows: Sequence[_Row], operator_id: str) -> Iterator[Basket]:
    """As few baskets as hold these rows within a ticket's limits, both of lines and of bytes."""

    def basket(items: list[Item]) -> Basket:
        return Basket(items, currency=CURRENCY, operator_id=operator_id, customer_id=rows[0].customer_id)

    items: list[Item] = []
    room_bytes = SALE_BYTES_MAX - TICKET_REST_BYTES
    for row in rows:
        needed_bytes = len(msgspec.json.encode(row.item)) + LINE_REST_BYTES
        if items and (len(items) == LINES_MAX or needed_bytes > room_bytes):
            yield basket(items)
            items, room_bytes = [], SALE_BYTES_MAX - TICKET_REST_BYTES
        items.append(row.item)
        room_bytes -= needed_bytes
    yield basket(items)

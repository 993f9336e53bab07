"""What does not add up in a sale that happened: stable codes, in one order (docs/ERRORS.md).

Here is what the sale itself and the catalogue tell; what a till's other tickets tell is in `domain/tickets.py`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date
from typing import NamedTuple

from appliance.domain import money
from appliance.domain.sale import Line, Sale, VatTotal
from appliance.domain.tickets import CLOCK_BACK, GAP, REUSED, unix_s

FLAGS = (
    "line-gross",
    "line-net",
    "total-lines",
    "total-tenders",
    "vat-totals",
    "unknown-article",
    "price-mismatch",
    "business-date",
    CLOCK_BACK,
    REUSED,
    GAP,
)

# Shops sell past midnight, and their business date is of their own time zone; nobody closes a day later than that.
BUSINESS_DAYS_OFF = 1
# A clock may be corrected by NTP in the middle of a ticket.
TICKET_BACK_S = 1.0


class Price(NamedTuple):
    """What the catalogue holds of an article that can be sold."""

    price_minor: int
    currency: str


def in_order(*found: Iterable[str]) -> list[str]:
    """Flags found in several places as one list: each once, in the order of FLAGS."""
    all_found = {flag for flags in found for flag in flags}
    return [flag for flag in FLAGS if flag in all_found]


def flags(sale: Sale) -> list[str]:
    """What does not add up within this sale; empty when all does."""
    found = _lines_and_totals(sale)
    if not _of_its_day(sale.business_date, sale.ended_at):
        found.append("business-date")
    if _ends_before(sale.started_at, sale.ended_at):
        found.append(CLOCK_BACK)
    return found


def priced(sale: Sale) -> list[Line]:
    """The lines whose prices a catalogue can confirm: of what was sold or taken back, not voided."""
    return [
        line
        for line in sale.lines
        if not line.voided and (line.line_type == "sale" or line.line_type == "return")
    ]


def catalogue_flags(lines: list[Line], currency: str, prices: Mapping[str, Price | None]) -> list[str]:
    """How `priced` lines differ from the catalogue their sale names. `prices` holds each article; None: no such."""
    unknown = mismatch = False
    for line in lines:
        price = prices[line.article_id]
        if price is None:
            unknown = True
        elif price.price_minor != line.unit_price_minor or price.currency != currency:
            mismatch = True
    return ["unknown-article"] * unknown + ["price-mismatch"] * mismatch


def _lines_and_totals(sale: Sale) -> list[str]:
    """What the lines say of themselves and of the totals, in one pass: a trolley has three hundred."""
    extended_of, net_of = money.extended, money.net_of
    gross: defaultdict[int, int] = defaultdict(int)
    net: defaultdict[int, int] = defaultdict(int)
    line_gross = line_net = False
    for line in sale.lines:
        if line.voided:
            continue
        rate, line_gross_minor, line_net_minor = line.vat_rate_bp, line.gross_minor, line.net_minor
        extended = extended_of(line.unit_price_minor, line.quantity)
        if line.adjustments:
            extended += sum([adjustment.amount_minor for adjustment in line.adjustments])
        if extended != line_gross_minor:
            line_gross = True
        if net_of(line_gross_minor, rate) != line_net_minor:
            line_net = True
        gross[rate] += line_gross_minor
        net[rate] += line_net_minor
    total_minor = sale.total_minor
    found = ["line-gross"] * line_gross + ["line-net"] * line_net
    if sum(gross.values()) != total_minor:
        found.append("total-lines")
    if sum([tender.amount_minor for tender in sale.tenders]) != total_minor:
        found.append("total-tenders")
    if not _vat_adds_up(gross, net, sale.vat_totals):
        found.append("vat-totals")
    return found


def _vat_adds_up(gross: Mapping[int, int], net: Mapping[int, int], totals: list[VatTotal]) -> bool:
    """Whether the till's totals are those of the lines, by rate; a rate without lines or totals counts as nothing."""
    gross_said: defaultdict[int, int] = defaultdict(int)
    net_said: defaultdict[int, int] = defaultdict(int)
    for total in totals:
        gross_said[total.vat_rate_bp] += total.gross_minor
        net_said[total.vat_rate_bp] += total.net_minor
    for rate in gross.keys() | gross_said.keys():
        of_rate = gross.get(rate, 0)
        # Tills compute the net of a rate either line by line or from its gross: both are right.
        if gross_said[rate] != of_rate or (
            net_said[rate] != net.get(rate, 0) and net_said[rate] != money.net_of(of_rate, rate)
        ):
            return False
    return True


def _of_its_day(business_date: str, ended_at: str) -> bool:
    if ended_at.startswith(business_date):
        return True
    days = date.fromisoformat(business_date).toordinal() - date.fromisoformat(ended_at[:10]).toordinal()
    return abs(days) <= BUSINESS_DAYS_OFF


def _ends_before(started_at: str, ended_at: str) -> bool:
    # Of one form and both in UTC, texts compare as their times do: nearly always that spares reading them.
    if len(started_at) == len(ended_at) and started_at[-1] == ended_at[-1] == "Z" and started_at <= ended_at:
        return False
    return unix_s(ended_at) < unix_s(started_at) - TICKET_BACK_S

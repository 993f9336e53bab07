"""From a basket to a finished ticket: prices from the catalogue, right totals, a time-ordered id. Pure."""

import random
import uuid
from collections import defaultdict
from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta

from appliance.domain import money
from appliance.domain.catalogue import Article
from appliance.domain.errors import InvalidSale, TooLarge
from appliance.domain.sale import (
    LINES_MAX,
    SALE_BYTES_MAX,
    TENDERS_MAX,
    Adjustment,
    Amount,
    BusinessDate,
    Currency,
    Identifier,
    Instant,
    Line,
    LineType,
    Mode,
    Quantity,
    Sale,
    SaleId,
    Tender,
    Text,
    VatRate,
    VatTotal,
    parse_sale,
)
from till.errors import UnknownArticle

CURRENCY_DEFAULT = "EUR"


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One thing in a basket. Price, VAT rate and name come from the catalogue when absent.

    `article_id` may also be a GTIN; a return has a negative quantity.
    """

    article_id: Identifier
    quantity: Quantity = "1"
    unit_price_minor: Amount | None = None
    vat_rate_bp: VatRate | None = None
    name: Text | None = None
    line_type: LineType = "sale"
    scanned_code: Text | None = None
    adjustments: Annotated[list[Adjustment], Meta(max_length=50)] = []

    @property
    def needs_price(self) -> bool:
        """Whether only a catalogue knows what this costs."""
        return self.unit_price_minor is None or self.vat_rate_bp is None


class Basket(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a customer brings to the till. Without tenders the whole is paid by card."""

    lines: Annotated[list[Item], Meta(min_length=1, max_length=LINES_MAX)]
    tenders: Annotated[list[Tender], Meta(max_length=TENDERS_MAX)] | None = None
    currency: Currency | None = None
    operator_id: Identifier = "1"
    shift_id: Identifier | None = None
    customer_id: Identifier | None = None
    training: bool = False


class Priced(msgspec.Struct, frozen=True):
    """A basket whose lines have their prices and amounts."""

    basket: Basket
    lines: list[Line]
    currency: str
    catalogue_version: int | None


class Stamp(msgspec.Struct, frozen=True):
    """What a till adds to a priced basket, the ticket number aside."""

    sale_id: SaleId
    till_id: Identifier
    business_date: BusinessDate
    started_at: Instant
    ended_at: Instant
    mode: Mode


def uuid7(unix_ms: int, rng: random.Random) -> str:
    """A UUIDv7 (RFC 9562 section 5.7): 48 bits of Unix milliseconds, then 74 random bits."""
    value = (unix_ms & (1 << 48) - 1) << 80 | rng.getrandbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76  # version
    value = value & ~(0x3 << 62) | 0x2 << 62  # variant
    return str(uuid.UUID(int=value))


def price(
    basket: Basket, look_up: Callable[[str], Article | None], *, catalogue_version: int | None
) -> Priced:
    """The basket with amounts. Raises UnknownArticle (a line has no price), InvalidSale (two currencies)."""
    lines, currencies = [], set()
    for item in basket.lines:
        missing = item.unit_price_minor is None or item.vat_rate_bp is None
        article = (
            look_up(item.scanned_code or item.article_id) or look_up(item.article_id) if missing else None
        )
        if article is not None:
            currencies.add(article.currency)
        lines.append(_line(item, article))
    if basket.currency is not None:
        currencies.add(basket.currency)
    if len(currencies) > 1:
        raise InvalidSale(f"one ticket, one currency: {', '.join(sorted(currencies))}")
    currency = currencies.pop() if currencies else CURRENCY_DEFAULT
    return Priced(basket, lines, currency, catalogue_version)


def _article(item: Item, look_up: Callable[[str], Article | None]) -> Article | None:
    """What was scanned decides; a code of the shop's own (a price label) may mean nothing to the catalogue."""
    scanned = None if item.scanned_code is None else look_up(item.scanned_code)
    return scanned or look_up(item.article_id)


def _line(item: Item, article: Article | None) -> Line:
    unit_price_minor, vat_rate_bp = item.unit_price_minor, item.vat_rate_bp
    if article is not None:
        unit_price_minor = article.price_minor if unit_price_minor is None else unit_price_minor
        vat_rate_bp = article.vat_rate_bp if vat_rate_bp is None else vat_rate_bp
    if unit_price_minor is None or vat_rate_bp is None:
        raise UnknownArticle(f"no price for {item.article_id}", article_id=item.article_id)
    quantity = money.quantity(item.quantity)
    if quantity is None:
        raise InvalidSale(f"no quantity: {item.quantity!r}")
    gross_minor = money.times(unit_price_minor, quantity) + sum(a.amount_minor for a in item.adjustments)
    return Line(
        line_type=item.line_type,
        article_id=item.article_id if article is None else article.article_id,
        quantity=item.quantity,
        unit_price_minor=unit_price_minor,
        gross_minor=gross_minor,
        net_minor=money.net_of(gross_minor, vat_rate_bp),
        vat_rate_bp=vat_rate_bp,
        scanned_code=item.scanned_code,
        name=item.name if item.name is not None or article is None else article.name[:200],
        adjustments=item.adjustments,
    )


def make_sale(priced: Priced, stamp: Stamp, ticket_number: int) -> Sale:
    """The finished ticket. Raises InvalidSale or TooLarge when no box could read it (an amount out of range, ...)."""
    basket, lines = priced.basket, priced.lines
    total_minor = sum(line.gross_minor for line in lines)
    sale = Sale(
        sale_id=stamp.sale_id,
        till_id=stamp.till_id,
        ticket_number=ticket_number,
        business_date=stamp.business_date,
        started_at=stamp.started_at,
        ended_at=stamp.ended_at,
        operator_id=basket.operator_id,
        currency=priced.currency,
        mode=stamp.mode,
        lines=lines,
        tenders=[Tender("card", total_minor)] if basket.tenders is None else basket.tenders,
        vat_totals=_vat_totals(lines),
        total_minor=total_minor,
        shift_id=basket.shift_id,
        training=basket.training,
        catalogue_version=priced.catalogue_version,
        customer_id=basket.customer_id,
    )
    body = sale.encode()
    if len(body) > SALE_BYTES_MAX:
        raise TooLarge(f"a ticket of {len(body)} bytes is over the limit of {SALE_BYTES_MAX}")
    return parse_sale(body)  # constructors check no ranges; whoever reads the ticket will


def _vat_totals(lines: list[Line]) -> list[VatTotal]:
    gross: dict[int, int] = defaultdict(int)
    net: dict[int, int] = defaultdict(int)
    for line in lines:
        gross[line.vat_rate_bp] += line.gross_minor
        net[line.vat_rate_bp] += line.net_minor
    return [VatTotal(rate, gross[rate], net[rate]) for rate in sorted(gross)]

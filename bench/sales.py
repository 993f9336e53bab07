"""Sales for the load: eight articles of the catalogue, paid in two ways, under fresh time-ordered ids."""

import random
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from appliance.domain import money
from appliance.domain.catalogue import Article
from appliance.domain.sale import Line, Sale, Tender, VatTotal
from appliance.runtime.clock import rfc3339

LINES = 8
# A day to sell on; the figures do not depend on it.
OPENING = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
_RAND_B = (1 << 62) - 1


def fresh_ids(rng: random.Random) -> Iterator[str]:
    """UUIDv7s (RFC 9562 section 5.7) of the moment they are asked for, as tills make them; they grow."""
    last = 0
    while True:
        # The 12 bits behind the milliseconds count on: many sales in one millisecond stay in order.
        last = max(last + 1, time.time_ns() // 1_000_000 << 12)
        value = (
            (last >> 12) << 80
            | 0x7 << 76
            | (last & 0xFFF) << 64
            | 0b10 << 62
            | (rng.getrandbits(62) & _RAND_B)
        )
        yield str(uuid.UUID(int=value))


def make_sales(articles: Sequence[Article], till: str, rng: random.Random) -> Iterator[Sale]:
    """The tickets of one till, for ever. The seed of `rng` decides everything but the ids."""
    ids, at, number = fresh_ids(rng), OPENING, 0
    while True:
        number += 1
        at += timedelta(seconds=rng.uniform(5, 60))
        lines = [_line(rng.choice(articles), rng) for _ in range(LINES)]
        total_minor = sum(line.gross_minor for line in lines)
        yield Sale(
            sale_id=next(ids),
            till_id=till,
            ticket_number=number,
            business_date=at.date().isoformat(),
            started_at=rfc3339(at - timedelta(seconds=50)),
            ended_at=rfc3339(at),
            operator_id=f"op-{rng.randint(1, 9)}",
            currency="EUR",
            mode="local",
            lines=lines,
            tenders=_tenders(total_minor, rng),
            vat_totals=_vat_totals(lines),
            total_minor=total_minor,
            shift_id="morning",
            catalogue_version=1,
        )


def _line(article: Article, rng: random.Random) -> Line:
    quantity = f"0.{rng.randint(100, 999)}" if article.unit == "kg" else rng.choice(["1", "1", "1", "2", "3"])
    amount = money.quantity(quantity)
    assert amount is not None
    gross_minor = money.times(article.price_minor, amount)
    return Line(
        line_type="sale",
        article_id=article.article_id,
        quantity=quantity,
        unit_price_minor=article.price_minor,
        gross_minor=gross_minor,
        net_minor=money.net_of(gross_minor, article.vat_rate_bp),
        vat_rate_bp=article.vat_rate_bp,
    )


def _tenders(total_minor: int, rng: random.Random) -> list[Tender]:
    voucher_minor = min(total_minor, 100 * rng.randint(1, 9))
    return [Tender("meal-voucher", voucher_minor), Tender("card", total_minor - voucher_minor)]


def _vat_totals(lines: list[Line]) -> list[VatTotal]:
    gross: defaultdict[int, int] = defaultdict(int)
    net: defaultdict[int, int] = defaultdict(int)
    for line in lines:
        gross[line.vat_rate_bp] += line.gross_minor
        net[line.vat_rate_bp] += line.net_minor
    return [VatTotal(rate, gross[rate], net[rate]) for rate in sorted(gross)]

"""Customers of our own making, and what cashiers ask head office for in between. The same seed, the same shop."""

import heapq
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from appliance.domain.catalogue import Article
from till.script import Step
from till.tickets import Basket, Item

# A busy till: a ticket each second and a half, so that a minute has something to lose.
TICKET_EVERY_S = 1.5
# Often enough that every phase of a cut sees some.
OPERATION_EVERY_S = 1.8
LINES_MAX = 8
RETURNS = 0.04

_OPERATIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("transfer", {"to": "S007", "article_id": "crate-1", "quantity": "3"}),
    ("goods_reception", {"delivery": "D-1042", "parcels": 4}),
    ("petty_cash_expense", {"amount_minor": 1_250, "reason": "window cleaning"}),
    ("new_customer", {"name": "A. Martin", "postcode": "44000"}),
    ("credit_note", {"amount_minor": 2_990}),
    ("deposit", {"amount_minor": 5_000, "article_id": "sofa-2"}),
    ("daily_closing", {"counted_minor": 184_250}),
)
# The same thing without asking for it by name: the box must find it inside the sale.
_HIDDEN = Item("deposit", unit_price_minor=5_000, vat_rate_bp=2_000, line_type="deposit")
HIDDEN_SHARE = 0.15


def customers(articles: Sequence[Article], rng: random.Random) -> Iterator[Step]:
    """Baskets for one till, for ever, in the order of their times. `articles` must not be empty."""
    at_s = 0.0
    while True:
        at_s += rng.expovariate(1 / TICKET_EVERY_S)
        lines = [_item(rng.choice(articles), rng) for _ in range(rng.randint(1, LINES_MAX))]
        yield Step(after_s=at_s, basket=Basket(lines, operator_id=f"op-{rng.randint(1, 4)}"))


def operations(rng: random.Random) -> Iterator[Step]:
    """Online-only operations for one till, for ever, in the order of their times; some hide in a sale."""
    at_s = 0.0
    while True:
        at_s += OPERATION_EVERY_S * rng.uniform(0.8, 1.2)
        if rng.random() < HIDDEN_SHARE:
            yield Step(after_s=at_s, basket=Basket([_HIDDEN]))
            continue
        name, data = rng.choice(_OPERATIONS)
        yield Step(after_s=at_s, operation=name, data=data)


def together(*steps: Iterable[Step]) -> Iterator[Step]:
    """Several streams of steps as one, in the order of their times."""
    return heapq.merge(*steps, key=lambda step: step.after_s)


def _item(article: Article, rng: random.Random) -> Item:
    by_weight = article.unit != "each"
    quantity = f"{rng.randint(1, 29) / 20:.2f}" if by_weight else str(rng.choice((1, 1, 1, 1, 2, 2, 3, 6)))
    # Scanned where there is a code, typed otherwise: both ways of finding an article are in use.
    code = rng.choice(article.gtins) if article.gtins else article.article_id
    if rng.random() < RETURNS:
        return Item(article_id=code, quantity=f"-{quantity}", line_type="return")
    return Item(article_id=code, quantity=quantity)

"""Made-up customers: seeded, sellable, and with operations in between."""

import itertools
import random
from collections.abc import Iterator

import msgspec

from appliance.domain.catalogue import Article
from appliance.domain.gate import BUILT_IN
from demo.run import kill_times
from demo.shoppers import customers, operations, together
from till.script import Step, read_step

ARTICLES = [
    Article("3000000000017", "Jam", 349, "EUR", 550, gtins=["3000000000017"]),
    Article("loose-1", "Apples", 299, "EUR", 550, unit="kg"),
]


def first(steps: Iterator[Step], count: int) -> list[Step]:
    return list(itertools.islice(steps, count))


def test_the_same_seed_gives_the_same_customers() -> None:
    one, other = (first(customers(ARTICLES, random.Random(7)), 50) for _ in range(2))

    assert one == other


def test_a_till_can_read_every_step() -> None:
    steps = [*first(customers(ARTICLES, random.Random(1)), 200), *first(operations(random.Random(1)), 200)]

    assert [read_step(msgspec.json.encode(step)) for step in steps] == steps


def test_what_is_weighed_is_not_sold_by_the_piece() -> None:
    baskets = [step.basket for step in first(customers(ARTICLES, random.Random(1)), 100)]
    quantities = {
        item.article_id: item.quantity for basket in baskets if basket is not None for item in basket.lines
    }

    assert "." in quantities["loose-1"]
    assert "." not in quantities["3000000000017"]


def test_operations_are_online_only_ones_and_some_hide_in_a_sale() -> None:
    steps = first(operations(random.Random(1)), 200)

    assert {step.operation for step in steps if step.operation is not None} == set(BUILT_IN.online_only)
    hidden = [step.basket for step in steps if step.basket is not None]
    assert 0 < len(hidden) < 100
    assert {item.line_type for basket in hidden for item in basket.lines} == {"deposit"}


def test_streams_run_together_in_the_order_of_their_times() -> None:
    rng = random.Random(1)

    times_s = [step.after_s for step in first(together(customers(ARTICLES, rng), operations(rng)), 300)]

    assert times_s == sorted(times_s)


def test_the_box_is_killed_once_in_each_part_of_the_run() -> None:
    times_s = kill_times(10, 60.0, random.Random(3))

    assert [int(at_s // 6) for at_s in times_s] == list(range(10))


def test_no_kills_are_no_kills() -> None:
    assert kill_times(0, 60.0, random.Random(3)) == []

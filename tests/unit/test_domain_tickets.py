"""Ticket numbers: reuse is always told, a gap when one was there, and a ticket that comes late is neither."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.tickets import CLOCK_BACK_S, Last, Numbers, Ticket, judge, ticket_of, unix_s

DAY = 739_577


class Till:
    """One till's tickets as the box meets them."""

    def __init__(self) -> None:
        self.last: Last | None = None
        self.days: dict[int, Numbers] = {}
        self.stretch, self.open = 0, False
        self.clock_s = 0.0

    def sell(
        self, number: int, day: int = 0, *, ended_s: float | None = None, mode: str = "local"
    ) -> tuple[str, ...]:
        self.clock_s += 30
        ended_s = self.clock_s if ended_s is None else ended_s
        ticket = Ticket("T1", DAY + day, number, ended_s, mode == "local")
        seen = self.days.setdefault(ticket.day, Numbers([]))
        found, self.last = judge(ticket, self.last, seen, stretch=self.stretch, open=self.open)
        seen.add(number)
        return found


@given(st.lists(st.integers(1, 60)))
def test_numbers_are_a_set(numbers: list[int]) -> None:
    kept = Numbers([])
    for number in numbers:
        kept.add(number)

    assert [number for number in range(62) if number in kept] == sorted(set(numbers))
    assert kept.bounds == sorted(set(kept.bounds))


@given(st.permutations(range(1, 30)))
def test_numbers_without_gaps_take_no_room_in_whichever_order_they_came(numbers: list[int]) -> None:
    kept = Numbers([])
    for number in numbers:
        kept.add(number)

    assert kept.bounds == [1, 30]


def test_a_till_that_counts_on_is_never_flagged() -> None:
    till = Till()

    assert [till.sell(number, day=number // 10) for number in range(41, 99)] == [()] * 58


def test_a_till_that_begins_anew_each_day_is_never_flagged() -> None:
    till = Till()

    assert [till.sell(number, day) for day in range(5) for number in range(1, 9)] == [()] * 40


@pytest.mark.parametrize("first", [1, 2, 500])
def test_the_first_ticket_of_a_till_is_not_judged(first: int) -> None:
    assert Till().sell(first) == ()


def test_a_skipped_number_is_a_gap_once() -> None:
    till = Till()

    assert [till.sell(number) for number in (7, 8, 10, 11)] == [(), (), ("ticket-gap",), ()]


def test_a_skipped_number_is_a_gap_also_over_night() -> None:
    till = Till()
    till.sell(7)

    assert till.sell(9, day=1) == ("ticket-gap",)


def test_a_day_that_does_not_begin_with_number_one_is_a_gap() -> None:
    till = Till()
    till.sell(7)

    assert till.sell(2, day=1) == ("ticket-gap",)


def test_a_gap_that_is_filled_later_is_fine_and_stays_filled() -> None:
    till = Till()

    assert [till.sell(number) for number in (1, 3, 2, 4)] == [(), ("ticket-gap",), (), ()]
    assert till.sell(2) == ("ticket-number-reused",)


def test_a_kept_ticket_of_yesterday_is_neither_gap_nor_reuse_nor_a_clock_that_went_back() -> None:
    till = Till()
    for number in (1, 2, 4):
        till.sell(number)
    for number in (1, 2, 3):
        till.sell(number, day=1)

    assert till.sell(3, day=0, ended_s=40.0) == ()
    assert till.sell(5, day=0, ended_s=70.0) == ()
    assert till.sell(4, day=1) == ()
    assert till.sell(5, day=1) == ()


def test_the_next_number_of_yesterday_does_not_make_today_a_gap() -> None:
    till = Till()
    for number in (1, 2, 3):
        till.sell(number)
    for number in (1, 2, 3):
        till.sell(number, day=1)

    assert [till.sell(4, day=0), till.sell(4, day=1), till.sell(5, day=1)] == [(), (), ()]


def test_one_number_on_two_days_is_no_reuse_and_twice_on_one_day_is() -> None:
    till = Till()
    till.sell(1)

    assert till.sell(1, day=1) == ()
    assert till.sell(1, day=1) == ("ticket-number-reused",)
    assert till.sell(1, day=0) == ("ticket-number-reused",)
    assert till.sell(2, day=1) == ()


def test_no_gap_is_judged_when_the_till_may_have_sold_to_head_office_in_between() -> None:
    till = Till()
    till.sell(1)
    till.stretch, till.open = 1, True
    assert till.sell(5, mode="cloud") == ()
    assert till.sell(7, mode="cloud") == ()
    assert till.sell(9, mode="local") == ()  # it has just failed to reach head office
    till.stretch, till.open = 2, False
    assert till.sell(15) == ()
    assert till.sell(16) == ()
    assert till.sell(18, mode="cloud") == ("ticket-gap",)  # nobody can reach head office now


def test_a_till_that_knows_only_the_box_is_judged_also_while_the_line_is_up() -> None:
    till = Till()
    till.stretch, till.open = 1, True

    assert [till.sell(1), till.sell(2), till.sell(4)] == [(), (), ("ticket-gap",)]


def test_a_clock_that_went_back_is_told_once_and_small_corrections_are_not() -> None:
    till = Till()
    till.sell(1, ended_s=1_000.0)

    assert till.sell(2, ended_s=1_000.0 - CLOCK_BACK_S) == ()
    assert till.sell(3, ended_s=939.0 - CLOCK_BACK_S) == ("clock-back",)
    assert till.sell(4, ended_s=900.0) == ()


def test_ten_years_ahead_and_back_flags_the_step_back_alone() -> None:
    till = Till()
    till.sell(1)
    years = 3_652

    assert till.sell(2, day=years, ended_s=years * 86_400.0) == ()
    assert till.sell(3) == ("clock-back",)
    assert till.sell(4) == ()
    assert till.sell(6) == ("ticket-gap",)


def test_a_step_back_and_a_gap_are_both_told() -> None:
    till = Till()
    till.sell(1, ended_s=1_000.0)

    assert till.sell(3, ended_s=0.0) == ("clock-back", "ticket-gap")


@given(st.integers(0, 2**32), st.booleans())
def test_no_order_of_arrival_makes_a_reuse_and_each_second_use_is_one(seed: int, anew: bool) -> None:
    rng = random.Random(seed)
    keys, number = [], 0
    for day in range(3):
        number = 0 if anew else number
        for _ in range(rng.randint(1, 12)):
            number += 1 if rng.random() < 0.9 else 3
            keys.append((number, day))
    # Some tickets are kept and come later, up to the very end.
    keys.sort(key=lambda key: (key[1], key[0], 0) if rng.random() < 0.8 else (rng.randint(key[1], 3), 99, 0))
    till = Till()

    first = [till.sell(*key) for key in keys]
    second = [till.sell(*key) for key in rng.sample(keys, len(keys))]

    assert not any("ticket-number-reused" in found for found in first)
    assert second == [("ticket-number-reused",)] * len(keys)


@given(st.sets(st.integers(2, 80)), st.booleans())
def test_in_order_there_is_one_flag_for_each_hole(left_out: set[int], overnight: bool) -> None:
    till = Till()
    numbers = [number for number in range(1, 82) if number not in left_out]
    found = [till.sell(number, day=number // 20 if overnight else 0) for number in numbers]

    holes = [after - before > 1 for before, after in itertools.pairwise(numbers)]
    assert [bool(flags) for flags in found] == [False, *holes]


@pytest.mark.parametrize(
    ("instant", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("1970-01-01T01:00:00.250+01:00", 0.25),
        ("2016-12-31T23:59:60Z", 1_483_228_799.0),
        ("1970-01-01T00:00:01.123456789Z", 1.123456),
    ],
)
def test_an_instant_is_read_as_seconds(instant: str, seconds: float) -> None:
    assert unix_s(instant) == seconds


@pytest.mark.parametrize("instant", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:60-23:59"])
def test_the_ends_of_the_calendar_can_be_read(instant: str) -> None:
    assert isinstance(ticket_of("T1", instant[:10], 1, instant, "local").ended_s, float)

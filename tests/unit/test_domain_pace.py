"""How large batches get: quickly large on a good line, small where they break, and never stuck."""

from appliance.domain.pace import FIRST_EVENTS, PROOF_EVENTS, QUICK_S, SLOW_S, Pace

MAX = 4_096


def test_on_a_quick_line_each_full_batch_doubles_the_next_up_to_the_most() -> None:
    pace, sizes = Pace(MAX), []
    for _ in range(5):
        sizes.append(pace.events)
        pace.went_through(pace.events, 0.1)

    assert sizes == [FIRST_EVENTS, 1_000, 2_000, 4_000, MAX]


def test_what_is_hoped_for_is_what_comes_when_it_goes_well() -> None:
    pace = Pace(MAX)
    for _ in range(5):
        hoped = pace.hoped
        pace.went_through(pace.events, 0.1)
        assert pace.events == hoped


def test_a_batch_that_is_half_empty_or_took_its_time_says_nothing_of_larger_ones() -> None:
    pace = Pace(MAX)
    pace.went_through(1, 0.01)
    pace.went_through(FIRST_EVENTS, QUICK_S + 0.1)

    assert pace.events == FIRST_EVENTS


def test_a_line_that_became_slow_gets_less_at_a_time() -> None:
    pace = Pace(MAX)
    for _ in range(10):
        pace.went_through(pace.events, SLOW_S + 1)

    assert pace.events == PROOF_EVENTS


def test_each_failure_halves_but_not_below_the_proof() -> None:
    pace, sizes = Pace(MAX), []
    for _ in range(7):
        pace.broke(pace.events)
        sizes.append(pace.events)

    assert sizes == [250, 125, 62, 31, PROOF_EVENTS, PROOF_EVENTS, PROOF_EVENTS]


def test_an_outage_between_single_sales_is_forgotten_within_a_few_batches() -> None:
    pace = Pace(MAX)
    for _ in range(50):
        pace.broke(1)
    batches = 0
    while pace.events < MAX:
        pace.went_through(pace.events, 0.1)
        batches += 1

    assert batches <= 9


def test_behind_the_size_that_broke_it_goes_on_in_steps() -> None:
    pace = Pace(MAX)
    for _ in range(4):
        pace.went_through(pace.events, 0.1)
    pace.broke(MAX)  # the line goes, and every try meanwhile fails
    for _ in range(20):
        pace.broke(pace.events)

    sizes = []
    while pace.events < MAX:
        pace.went_through(pace.events, 0.1)
        sizes.append(pace.events)

    assert MAX // 2 in sizes
    assert sizes[sizes.index(MAX // 2) + 1] == MAX // 2 + MAX // 32


def test_a_batch_too_large_for_somebody_gets_smaller_until_there_is_no_smaller_one() -> None:
    pace, tries = Pace(MAX), 1
    while pace.too_large(pace.events):
        tries += 1

    assert (pace.events, tries) == (1, 9)

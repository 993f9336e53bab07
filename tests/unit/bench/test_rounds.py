"""What is read from the rounds of a benchmark."""

from bench.report import Gate, Row, against, at_least, at_most, markdown, row, table
from bench.rounds import alternate, percentile, ratios


def test_product_and_limit_take_turns_and_neither_always_goes_first() -> None:
    went: list[str] = []

    def run(name: str) -> str:
        went.append(name)
        return f"{name}{len(went)}"

    taken = alternate(3, {"limit": lambda: run("limit"), "product": lambda: run("product")})

    assert went == ["limit", "product", "product", "limit", "limit", "product"]
    assert taken == {"limit": ["limit1", "limit4", "limit5"], "product": ["product2", "product3", "product6"]}


def test_a_ratio_compares_the_halves_of_one_round_only() -> None:
    # The machine was twice as fast in the second round: for both.
    assert ratios([50.0, 100.0], [100.0, 200.0]) == [0.5, 0.5]


def test_a_percentile_is_a_value_that_was_measured() -> None:
    times = [float(number) for number in range(100, 0, -1)]

    assert percentile(times, 0.5) == 50
    assert percentile(times, 0.99) == 99
    assert percentile([7.0], 0.99) == 7
    assert percentile([3.0, 1.0, 2.0], 1.0) == 3


def a_row(*values: float, gate: Gate | None = None, of_limit: Gate | None = None) -> Row:
    return row(
        "start",
        "exec to ready",
        "s",
        values,
        against("imports", values, [0.5] * len(values), gate=of_limit),
        gate=gate,
    )


def test_a_gate_is_judged_by_the_median() -> None:
    assert not a_row(0.9, 1.0, 9.0, gate=at_most(1.5)).missed
    assert a_row(0.9, 1.6, 1.7, gate=at_most(1.5)).missed
    assert not a_row(1.5, gate=at_most(1.5)).missed, "the bound itself is met"
    assert not a_row(99.0).missed, "without a gate nothing can be missed"


def test_a_gate_on_a_ratio_is_judged_by_the_median_of_the_rounds_own_ratios() -> None:
    # The second round's half was twice as fast for both: 0.4, 0.4, 0.6.
    limit = against("echo", [40.0, 80.0, 60.0], [100.0, 200.0, 100.0], gate=at_least(0.5))

    missed = row("accept", "acked", "sales/s", [40.0, 80.0, 60.0], limit).missed

    assert missed == ["accept: acked: 0.4 of echo, not >= 0.5"]
    assert not a_row(1.0, of_limit=at_least(2.0)).missed
    assert a_row(0.99, of_limit=at_least(2.0)).missed


def test_each_gate_of_a_row_counts() -> None:
    assert len(a_row(1.6, gate=at_most(1.5), of_limit=at_most(3.0)).missed) == 2


def test_a_moonshot_judges_nothing() -> None:
    assert not a_row(1.4, gate=at_most(1.5, moonshot=0.1)).missed


def test_a_row_without_its_gates_cannot_be_missed() -> None:
    assert not a_row(9.0, gate=at_most(1.5), of_limit=at_most(3.0)).ungated().missed


def test_the_table_shows_values_ratios_and_what_a_gate_said() -> None:
    rows = [
        a_row(0.9, 1.0, 1.2, gate=at_most(1.5)),
        a_row(2.0, gate=at_most(1.5)),
        a_row(2.0, of_limit=at_least(8)),
    ]
    lines = table(rows).splitlines()

    assert " ".join(lines[1].split()) == (
        "start exec to ready 1.00 (0.9 to 1.20) s imports 0.5 2.00 (1.80 to 2.40) GATE <= 1.5: met"
    )
    assert lines[2].endswith("GATE <= 1.5: missed")
    assert lines[3].endswith("GATE >= 8: missed")


def test_the_table_for_a_document_holds_the_gates_alone() -> None:
    rows = [a_row(1.0, 3.0), a_row(1.0, 2.0, of_limit=at_most(2.5, moonshot=2)), a_row(2.0, gate=at_most(1))]

    assert markdown(rows).splitlines()[2:] == [
        "| start: exec to ready | 1.50 s | imports: 0.5 | 3.00 (2.00 to 4.00) | <= 2.5: missed | <= 2 |",
        "| start: exec to ready | 2.00 s |  |  | <= 1: missed |  |",
    ]

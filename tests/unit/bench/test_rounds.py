"""What is read from the rounds of a benchmark."""

from bench.report import Row, against, row, table
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


def a_row(*values: float, gate_below: float | None = None) -> Row:
    return row(
        "start",
        "exec to ready",
        "s",
        values,
        against("imports", values, [0.5] * len(values)),
        gate_below=gate_below,
    )


def test_a_gate_is_judged_by_the_median() -> None:
    assert not a_row(0.9, 1.0, 9.0, gate_below=1.5).missed
    assert a_row(0.9, 1.6, 1.7, gate_below=1.5).missed
    assert a_row(1.5, gate_below=1.5).missed, "below, not at"
    assert not a_row(99.0).missed, "without a gate nothing can be missed"


def test_the_table_shows_values_ratios_and_what_a_gate_said() -> None:
    lines = table([a_row(0.9, 1.0, 1.2, gate_below=1.5), a_row(2.0, gate_below=1.5)]).splitlines()

    assert " ".join(lines[1].split()) == (
        "start exec to ready 1.00 (0.9 to 1.20) s imports 0.5 2.00 (1.80 to 2.40) GATE < 1.5: met"
    )
    assert lines[2].endswith("GATE < 1.5: MISSED")

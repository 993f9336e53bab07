"""What was measured, as a table for people and as JSON for programs; and the gates."""

import platform
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from bench.rounds import Spread, ratios, spread


class Limit(msgspec.Struct, frozen=True):
    """What a value is compared with: the ratio is the median of the rounds' own ratios. `target` is for later work."""

    name: str
    median: float
    ratio: float
    ratio_low: float
    ratio_high: float
    target: str = ""


class Row(msgspec.Struct, frozen=True):
    """One measured value over all rounds. With a gate, the command fails when the median is not below it."""

    figure: str
    what: str
    unit: str
    median: float
    low: float
    high: float
    limits: list[Limit] = []
    gate_below: float | None = None

    @property
    def missed(self) -> bool:
        """Whether there is a gate, and this value does not pass it."""
        return self.gate_below is not None and not self.median < self.gate_below


def against(name: str, values: Sequence[float], limits: Sequence[float], target: str = "") -> Limit:
    """Compare round by round."""
    middle, low, high = spread(ratios(values, limits))
    return Limit(name, spread(limits).median, middle, low, high, target)


def row(
    figure: str,
    what: str,
    unit: str,
    values: Sequence[float],
    *limits: Limit,
    gate_below: float | None = None,
) -> Row:
    """A row from the values of the rounds."""
    return Row(figure, what, unit, *spread(values), limits=list(limits), gate_below=gate_below)


def table(rows: Iterable[Row]) -> str:
    """The rows in columns; each limit beyond a row's first has a line of its own."""
    head = (
        "figure",
        "what",
        "median",
        "(min to max)",
        "unit",
        "against",
        "limit",
        "ratio",
        "(min to max)",
        "target",
    )
    lines = [head, *(line for entry in rows for line in _lines(entry))]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    numbers = (2, 6, 7)
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _lines(entry: Row) -> Iterator[tuple[str, ...]]:
    value = Spread(entry.median, entry.low, entry.high)
    gate = (
        ""
        if entry.gate_below is None
        else f"GATE < {entry.gate_below:g}: {'MISSED' if entry.missed else 'met'}"
    )
    mine: tuple[str, ...] = (entry.figure, entry.what, _number(value.median), _range(value), entry.unit)
    if not entry.limits:
        yield (*mine, "", "", "", "", gate)
    for limit in entry.limits:
        ratio = Spread(limit.ratio, limit.ratio_low, limit.ratio_high)
        target = "; ".join(filter(None, (limit.target, gate)))
        yield (*mine, limit.name, _number(limit.median), _number(limit.ratio), _range(ratio), target)
        mine, gate = ("", "", "", "", ""), ""


def _range(value: Spread) -> str:
    return f"({_number(value.low)} to {_number(value.high)})" if value.low != value.high else ""


def _number(value: float) -> str:
    """Three significant digits, and all digits of what is larger."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.{2 if abs(value) < 10 else 1}f}"


def write_json(path: Path, rows: Sequence[Row], settings: object) -> None:
    """Keep the rows with what is needed to read them later."""
    machine = {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "system": platform.platform(),
    }
    content = {"machine": machine, "settings": settings, "rows": rows}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(content, enc_hook=str), indent=2) + b"\n")

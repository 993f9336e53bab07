"""What was measured, as tables for people and as JSON for programs; and the gates."""

import platform
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from msgspec.structs import replace

from bench.rounds import Spread, ratios, spread


class Gate(msgspec.Struct, frozen=True):
    """A bound that a median has to keep. The moonshot is where it should come to one day; it judges nothing."""

    sense: Literal["<=", ">="]
    bound: float
    moonshot: float | None = None

    def met_by(self, value: float) -> bool:
        """Whether a value keeps the bound; the bound itself does."""
        return value <= self.bound if self.sense == "<=" else value >= self.bound

    def __str__(self) -> str:
        return f"{self.sense} {self.bound:g}"


def at_most(bound: float, moonshot: float | None = None) -> Gate:
    """A gate for what should be small."""
    return Gate("<=", bound, moonshot)


def at_least(bound: float, moonshot: float | None = None) -> Gate:
    """A gate for what should be large."""
    return Gate(">=", bound, moonshot)


class Limit(msgspec.Struct, frozen=True):
    """What a value is compared with: the ratio is the median of the rounds' own ratios.

    With a gate, the command fails when the ratio does not keep it; `target` is only shown.
    """

    name: str
    median: float
    ratio: float
    ratio_low: float
    ratio_high: float
    target: str = ""
    gate: Gate | None = None


class Row(msgspec.Struct, frozen=True):
    """One measured value over all rounds. With a gate, the command fails when the median does not keep it."""

    figure: str
    what: str
    unit: str
    median: float
    low: float
    high: float
    limits: list[Limit] = []
    gate: Gate | None = None

    @property
    def missed(self) -> list[str]:
        """The gates that this row does not pass, in words."""
        judged = [(self.gate, self.median, self.unit)]
        judged += [(limit.gate, limit.ratio, f"of {limit.name}") for limit in self.limits]
        return [
            f"{self.figure}: {self.what}: {_number(value)} {of}, not {gate}"
            for gate, value, of in judged
            if gate is not None and not gate.met_by(value)
        ]

    def ungated(self) -> "Row":
        """The same, for a run whose figures mean nothing."""
        return replace(self, gate=None, limits=[replace(limit, gate=None) for limit in self.limits])


def against(
    name: str, values: Sequence[float], limits: Sequence[float], target: str = "", *, gate: Gate | None = None
) -> Limit:
    """Compare round by round."""
    middle, low, high = spread(ratios(values, limits))
    return Limit(name, spread(limits).median, middle, low, high, target, gate)


def row(
    figure: str, what: str, unit: str, values: Sequence[float], *limits: Limit, gate: Gate | None = None
) -> Row:
    """A row from the values of the rounds."""
    return Row(figure, what, unit, *spread(values), limits=list(limits), gate=gate)


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
    own = _verdict(entry.gate, entry.median)
    mine: tuple[str, ...] = (entry.figure, entry.what, _number(value.median), _range(value), entry.unit)
    if not entry.limits:
        yield (*mine, "", "", "", "", own)
    for limit in entry.limits:
        ratio = Spread(limit.ratio, limit.ratio_low, limit.ratio_high)
        target = "; ".join(filter(None, (limit.target, _verdict(limit.gate, limit.ratio), own)))
        yield (*mine, limit.name, _number(limit.median), _number(limit.ratio), _range(ratio), target)
        mine, own = ("", "", "", "", ""), ""


def _verdict(gate: Gate | None, value: float) -> str:
    return "" if gate is None else f"GATE {gate}: {'met' if gate.met_by(value) else 'missed'}"


def markdown(rows: Iterable[Row]) -> str:
    """What has a gate, as a table to put into a document."""
    lines = [
        "| what | measured | limit | ratio (min to max) | gate | moonshot |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for entry in rows:
        value = Spread(entry.median, entry.low, entry.high)
        measured = f"{_number(value.median)} {entry.unit}".strip()
        if entry.gate is not None:
            measured_all = f"{measured} {_range(value)}".strip()
            lines.append(_cells(entry, measured_all, "", "", entry.gate, entry.median))
        for limit in entry.limits:
            if limit.gate is not None:
                ratio = Spread(limit.ratio, limit.ratio_low, limit.ratio_high)
                of = f"{limit.name}: {_number(limit.median)}"
                shown = f"{_number(limit.ratio)} {_range(ratio)}".strip()
                lines.append(_cells(entry, measured, of, shown, limit.gate, limit.ratio))
    return "\n".join(lines)


def _cells(entry: Row, measured: str, limit: str, ratio: str, gate: Gate, judged: float) -> str:
    moonshot = "" if gate.moonshot is None else f"{gate.sense} {gate.moonshot:g}"
    verdict = "" if gate.met_by(judged) else ": missed"
    what = f"{entry.figure}: {entry.what}"
    return f"| {what} | {measured} | {limit} | {ratio} | {gate}{verdict} | {moonshot} |"


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

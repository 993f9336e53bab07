"""`python -m bench [NAME ...]`: measure the box beside its limits, print a table, fail when a gate is missed.

Each figure takes turns with its limit in short rounds; only the ratios within a round are worth comparing between
machines, and a gate is judged by their median. Exit codes: 0 fine, 1 a gate is missed or a figure failed, 2 misuse.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

from appliance.domain.errors import StoreboxError
from bench.figures import accept, backlog, drain, idle, lookup, memory, pace, slow, start, writer, written
from bench.processes import Failed
from bench.report import Row, markdown, table, write_json
from bench.settings import QUICK, Bench, Settings
from bench.shop import open_shop, read_or_make

FIGURES: dict[str, Callable[[Bench], Iterator[Row]]] = {
    figure.NAME: figure.measure
    for figure in (accept, pace, slow, written, writer, drain, lookup, memory, start, idle, backlog)
}
# One takes minutes, the other is settled (docs/decisions/0003): measured when they are asked for.
ON_ASKING = (backlog.NAME, writer.NAME)


def main() -> None:
    """Entry point."""
    options = _parser().parse_args()
    settings = QUICK if options.quick else Settings()
    given = {"rounds": options.rounds, "seconds": options.seconds, "waiting": options.waiting}
    settings = replace(settings, **{name: value for name, value in given.items() if value is not None})
    if not settings.quick:
        _warn_when_busy()
    names = options.names or [name for name in FIGURES if settings.quick or name not in ON_ASKING]
    try:
        rows, failures = _measure(names, settings, options.dir, options.articles)
    except (Failed, StoreboxError, OSError) as error:
        sys.exit(f"bench: {error}")
    print(markdown(rows) if options.markdown else table(rows))
    if options.json:
        write_json(options.json, rows, asdict(settings))
    missed = [f"missed {gate}" for row in rows for gate in row.missed]
    if wrong := failures + missed:
        sys.exit("\n".join(f"bench: {what}" for what in wrong))


def _warn_when_busy() -> None:
    """A disk or a core that others use makes a limit look worse than it is, and so the product look better."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > cores / 2:
        print(
            f"bench: others are busy here (load {load:.1f} on {cores} cores): ratios say little",
            file=sys.stderr,
        )


def _measure(
    names: list[str], settings: Settings, place: Path, articles: Path | None
) -> tuple[list[Row], list[str]]:
    """The rows, and why a figure has none: one that cannot be measured here does not take the others with it."""
    rows: list[Row] = []
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="bench-", dir=place) as made:
        folder = Path(made).absolute()
        catalogue = read_or_make(articles, settings.articles)
        print(f"a shop with {len(catalogue)} articles", file=sys.stderr)
        with open_shop(folder, catalogue) as shop:
            for name in names:
                print(name, file=sys.stderr)
                try:
                    rows += FIGURES[name](Bench(shop, folder, settings))
                except (Failed, StoreboxError, OSError) as error:
                    failures.append(f"{name}: {error}")
    return [row.ungated() for row in rows] if settings.quick else rows, failures


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the box beside its limits.")
    parser.add_argument(
        "names",
        nargs="*",
        type=_figure,
        metavar="NAME",
        help=f"figures (all but {', '.join(ON_ASKING)}): {', '.join(FIGURES)}",
    )
    parser.add_argument("--dir", type=Path, default=Path(), help="on the disk to measure; not a tmpfs (here)")
    parser.add_argument(
        "--articles", type=Path, metavar="FILE", help="the catalogue: gtin<TAB>name, or NDJSON"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures")
    parser.add_argument(
        "--markdown", action="store_true", help="print the gates alone, as a table for a document"
    )
    parser.add_argument(
        "--quick", action="store_true", help="seconds instead of minutes: shows only that it runs"
    )
    parser.add_argument("--rounds", type=_positive(int), help="per figure (5)")
    parser.add_argument("--seconds", type=_positive(float), help="of one half of a round (1)")
    parser.add_argument("--waiting", type=_positive(int), help="events in the figure backlog (1,000,000)")
    return parser


def _figure(name: str) -> str:
    if name not in FIGURES:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(FIGURES)}")
    return name


def _positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    def read(text: str) -> float:
        number = kind(text)
        if not number > 0:
            raise argparse.ArgumentTypeError(f"{text!r} is not above 0")
        return number

    return read


if __name__ == "__main__":
    main()

"""`python -m bench [NAME ...]`: measure the box beside its limits, print a table, fail when a gate is missed.

Each figure takes turns with its limit in short rounds; only the ratios within a round are worth comparing between
machines. Exit codes: 0 fine, 1 a gate is missed or something failed, 2 misuse.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

from appliance.domain.errors import StoreboxError
from bench.figures import accept, drain, lookup, memory, start, writer
from bench.processes import Failed
from bench.report import Row, table, write_json
from bench.settings import QUICK, Bench, Settings
from bench.shop import open_shop, read_or_make

FIGURES: dict[str, Callable[[Bench], Iterator[Row]]] = {
    figure.NAME: figure.measure for figure in (accept, writer, drain, lookup, memory, start)
}


def main() -> None:
    """Entry point."""
    options = _parser().parse_args()
    settings = QUICK if options.quick else Settings()
    given = {"rounds": options.rounds, "seconds": options.seconds}
    settings = replace(settings, **{name: value for name, value in given.items() if value is not None})
    try:
        rows = _measure(options.names or list(FIGURES), settings, options.dir, options.articles)
    except (Failed, StoreboxError, OSError) as error:
        sys.exit(f"bench: {error}")
    print(table(rows))
    if options.json:
        write_json(options.json, rows, asdict(settings))
    if missed := [row for row in rows if row.missed]:
        sys.exit("bench: missed " + ", ".join(f"{row.figure}: {row.what}" for row in missed))


def _measure(names: list[str], settings: Settings, place: Path, articles: Path | None) -> list[Row]:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bench-", dir=place) as made:
        folder = Path(made).absolute()
        catalogue = read_or_make(articles, settings.articles)
        print(f"a shop with {len(catalogue)} articles", file=sys.stderr)
        with open_shop(folder, catalogue) as shop:
            for name in names:
                print(name, file=sys.stderr)
                rows += FIGURES[name](Bench(shop, folder, settings))
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the box beside its limits.")
    parser.add_argument(
        "names", nargs="*", type=_figure, metavar="NAME", help=f"figures (all): {', '.join(FIGURES)}"
    )
    parser.add_argument("--dir", type=Path, default=Path(), help="on the disk to measure; not a tmpfs (here)")
    parser.add_argument(
        "--articles", type=Path, metavar="FILE", help="the catalogue: gtin<TAB>name, or NDJSON"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures")
    parser.add_argument(
        "--quick", action="store_true", help="seconds instead of minutes: shows only that it runs"
    )
    parser.add_argument("--rounds", type=_positive(int), help="per figure (5)")
    parser.add_argument("--seconds", type=_positive(float), help="of one half of a round (1)")
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

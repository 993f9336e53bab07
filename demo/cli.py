"""storebox-demo: a whole shop on one desk, with an internet line that can be cut.

Head office, one box and two tills run as real programs on this machine's loopback. In a terminal the state is shown
live and keys decide; without one the run is as the flags say. Either way it ends with a tally of what the cloud holds.

Exit codes: 0 each accepted sale is in the cloud exactly once; 1 it is not, or a program failed; 2 misuse; 130 left
before the tally.
"""

import argparse
import asyncio
import itertools
import math
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from appliance.domain.errors import ConfigError, StoreboxError
from appliance.runtime.clock import SystemClock
from demo.outages import Outage
from demo.places import TILLS
from demo.screen import print_tally
from demo.session import FOR_S_DEFAULT, Options, run_session
from demo.tally import as_json

HELD, FAILED, MISUSE, LEFT = 0, 1, 2, 130
STATE_DEFAULT, STATE_DEFAULT_TLS = Path(".storebox-desk"), Path(".storebox-desk-tls")
# A day; whoever wants more starts again, and it goes on where it stopped.
SECONDS_MAX = 86_400.0
KILLS_MAX = 1_000
# Baskets, operations and kills of one run are those of every other.
SEED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the desk once; returns the exit code. Wrong arguments end the program with 2."""
    options, as_data = _options(arguments)
    console = Console(stderr=as_data)
    rngs = {name: random.Random(f"{SEED} {name}") for name in (*TILLS, "kills", "line", "gusts")}
    rngs["weather"] = random.Random(options.weather)
    try:
        tally = asyncio.run(run_session(options, rngs, SystemClock(), console))
    except ConfigError as error:
        return _failed(error, MISUSE)
    except StoreboxError as error:
        return _failed(error, FAILED)
    except asyncio.CancelledError:
        tally = None
    if tally is None:
        console.print("left before the tally; the next start picks up from here")
        return LEFT
    print_tally(tally, console)
    if as_data:
        sys.stdout.write(as_json(tally) + "\n")
    return HELD if tally.ok else FAILED


def _failed(error: StoreboxError, code: int) -> int:
    sys.stderr.write(f"storebox-demo: {error}\n")
    return code


def _options(arguments: Sequence[str] | None) -> tuple[Options, bool]:
    parser = _parser()
    args = parser.parse_args(arguments)
    if args.speed is not None and args.sales is None:
        parser.error("--speed replays a trading day faster: name one with --sales")
    live = sys.stdin.isatty() and sys.stdout.isatty() and not args.json
    until_s = args.for_s or (math.inf if args.speed else FOR_S_DEFAULT)
    outages = sorted(args.outage, key=lambda outage: outage.cut_s)
    if any(outage.mended_s > until_s for outage in outages):
        parser.error(f"an --outage ends after the run, which takes {until_s:g} s")
    if any(one.mended_s > other.cut_s for one, other in itertools.pairwise(outages)):
        parser.error("two --outage overlap")
    options = Options(
        state=args.state or (STATE_DEFAULT_TLS if args.tls else STATE_DEFAULT),
        articles=args.articles,
        sales=args.sales,
        for_s=args.for_s,
        speed=args.speed,
        outages=outages,
        kills=args.kill_box,
        weather=args.weather,
        tls=args.tls,
        live=live,
    )
    return options, args.json


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="storebox-demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--for", dest="for_s", type=_seconds, metavar="SECONDS", help="how long to sell (60)")
    parser.add_argument(
        "--outage",
        action="append",
        default=[],
        type=_outage,
        metavar="FROM:TO",
        help="cut the line from one second to another (repeatable)",
    )
    parser.add_argument(
        "--kill-box", type=_kills, default=0, metavar="N", help="kill -9 the box N times, spread over the run"
    )
    parser.add_argument(
        "--weather",
        type=_seed,
        metavar="SEED",
        help="random faults of the line at random moments: answers lost, bits flipped, all sent twice, ...",
    )
    parser.add_argument(
        "--tls", action="store_true", help="all speak TLS, and the tills are paired by codes, as in a shop"
    )
    parser.add_argument(
        "--articles", type=Path, metavar="FILE", help="a catalogue: gtin<TAB>name, may be gzipped"
    )
    parser.add_argument(
        "--sales", type=Path, metavar="FILE", help="replay a trading day: CSV, may be gzipped"
    )
    parser.add_argument(
        "--speed",
        type=_seconds,
        metavar="N",
        help="replay it N times as fast; without it, the day fits the run",
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help=f"where everything is kept from start to start ({STATE_DEFAULT}; with --tls {STATE_DEFAULT_TLS})",
    )
    parser.add_argument(
        "--json", action="store_true", help="the tally as JSON on standard output, all else on standard error"
    )
    return parser


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= SECONDS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r}: a number above 0, at most {SECONDS_MAX:.0f}")
    return number


def _outage(text: str) -> Outage:
    cut, colon, mended = text.partition(":")
    try:
        outage = Outage(float(cut), float(mended))
    except ValueError:
        colon, outage = "", Outage(0.0)
    if not colon or not 0 <= outage.cut_s < outage.mended_s < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: two seconds of the run, like 15:35")
    return outage


def _kills(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > KILLS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r}: a number from 0 to {KILLS_MAX}")
    return int(text)


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise argparse.ArgumentTypeError(f"{text!r}: a whole number")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())

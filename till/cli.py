"""storebox-till: pair with a box, find it, sell scripts or single tickets, look at the copies that a till keeps.

Exit codes: 0 fine; 1 something is unsent, refused or missing; 2 misuse. A ticket that was refused because an
online-only operation hid in it never became one: the cashier was told, and it counts as fine.
"""

import argparse
import asyncio
import contextlib
import os
import random
import re
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import get_args

import msgspec

from appliance.domain.errors import BadInput, ConfigError, StoreboxError
from appliance.domain.pairing import read_payload
from appliance.domain.sale import Identifier, Text
from appliance.runtime.clock import SystemClock
from appliance.runtime.logs import log_to_stderr
from appliance.runtime.process import run_daemon
from till import show
from till.copy import State
from till.identity import TillKeys
from till.meet import locate, pair, read_code
from till.options import Options
from till.run import run_script, sell_once
from till.sentences import Lang
from till.tickets import Basket
from till.wiring import ours

FINE, UNFINISHED, MISUSE = 0, 1, 2
# A token on a command line can be read by every user of the machine.
BOX_TOKEN_VARIABLE, CLOUD_TOKEN_VARIABLE = "STOREBOX_TILL_TOKEN", "STOREBOX_CLOUD_TOKEN"

_ARTICLE = re.compile(r"(?P<code>.+?)(?:x(?P<quantity>-?[0-9][0-9.]*))?")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. Wrong arguments end the program with 2."""
    args = _parser().parse_args(arguments)
    log_to_stderr()
    try:
        return FINE if args.command(args) else UNFINISHED
    except ConfigError as error:
        sys.stderr.write(f"storebox-till: {error}\n")
        return MISUSE
    except StoreboxError as error:
        sys.stderr.write(f"storebox-till: {error}\n")
        return UNFINISHED
    except BrokenPipeError:
        # Whoever followed us has gone; what was sold is on disk. Nothing more may be written there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNFINISHED


def _discover(args: argparse.Namespace) -> bool:
    return _on_loop(lambda _: show.discover(args.seconds, args.interface, as_json=args.json))


def _pair(args: argparse.Namespace) -> bool:
    try:
        invitation = read_payload(read_code(args.code, args.file))
        till = msgspec.convert(args.till, Identifier)
        name = msgspec.convert(args.name, Text)
    except (BadInput, msgspec.ValidationError) as error:
        raise ConfigError(str(error)) from error
    with ours(args.state):
        return _on_loop(lambda _: pair(args.state, till, name, invitation, args.interface, SystemClock()))


def _locate(args: argparse.Namespace) -> bool:
    options = _options(args)
    with ours(options.state):
        return _on_loop(lambda _: locate(options, SystemClock()))


def _run(args: argparse.Namespace) -> bool:
    options = _options(args)
    with ours(options.state), _opened(args.script) as descriptor:
        return _on_loop(
            lambda stop: run_script(
                options, descriptor, stop, SystemClock(), random.Random(), report=args.report
            )
        )


def _sell(args: argparse.Namespace) -> bool:
    options, basket = _options(args), basket_of(args.article, args.operator)
    with ours(options.state):
        return _on_loop(lambda stop: sell_once(options, basket, stop, SystemClock(), random.Random()))


def _status(args: argparse.Namespace) -> bool:
    return _on_loop(lambda _: show.status(_options(args)))


def _copies(args: argparse.Namespace) -> bool:
    return show.copies(args.state, args.state_filter)


def basket_of(articles: Sequence[str], operator: str) -> Basket:
    """The basket of `CODE` and `CODExQUANTITY` words. Raises ConfigError when one cannot be read."""
    lines = []
    for word in articles:
        match = _ARTICLE.fullmatch(word)
        if match is None:
            raise ConfigError(f"no article: {word!r}")
        lines.append({"article_id": match["code"], "quantity": match["quantity"] or "1"})
    try:
        return msgspec.convert({"lines": lines, "operator_id": operator}, Basket)
    except msgspec.ValidationError as error:
        raise ConfigError(f"no basket: {error}") from error


@contextlib.contextmanager
def _opened(script: str) -> Iterator[int]:
    if script == "-":
        yield sys.stdin.fileno()
        return
    try:
        file = Path(script).open("rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise ConfigError(f"{script}: {error.strerror}") from error
    with file:
        yield file.fileno()


def _on_loop(work: Callable[[asyncio.Event], Awaitable[bool]]) -> bool:
    results: list[bool] = []

    async def noted(stop: asyncio.Event) -> None:
        results.append(await work(stop))

    run_daemon(noted)
    return results[0]


def _options(args: argparse.Namespace) -> Options:
    keys = TillKeys(args.state)
    keys.load()
    plain = args.box is not None and args.box.startswith("http://")
    if keys.pairing is None or plain:
        token = args.token or os.environ.get(BOX_TOKEN_VARIABLE)
        if not token:
            raise ConfigError(
                f"this till is not paired (storebox-till pair), and has no token for a box without TLS: "
                f"--token, or {BOX_TOKEN_VARIABLE} in the environment"
            )
        if args.till is None:
            raise ConfigError("which till is this? --till")
    elif args.token:
        raise ConfigError("this till is paired: --token is for a --box http://... only")
    else:
        token = None
    return Options(
        state=args.state,
        till_id=args.till or keys.paired.till,
        box_token=token,
        cloud_url=args.cloud,
        cloud_token=args.cloud_token or os.environ.get(CLOUD_TOKEN_VARIABLE),
        box_url=args.box,
        interfaces=args.interface,
        lang=args.lang,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="storebox-till", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    interface = argparse.ArgumentParser(add_help=False)
    interface.add_argument(
        "--interface",
        action="append",
        default=[],
        metavar="ADDR",
        help="search on this address only (repeatable)",
    )
    state = argparse.ArgumentParser(add_help=False)
    state.add_argument(
        "--state", type=Path, required=True, metavar="DIR", help="where this till keeps its copies"
    )
    till = argparse.ArgumentParser(add_help=False, parents=[state, interface])
    till.add_argument("--till", metavar="ID", help="this till's id; a paired one knows it")
    till.add_argument(
        "--token", metavar="TOKEN", help=f"its token for a box without TLS (or ${BOX_TOKEN_VARIABLE})"
    )
    till.add_argument(
        "--cloud", metavar="URL", help="sell straight to this cloud too; without it, by the box only"
    )
    till.add_argument(
        "--cloud-token", metavar="TOKEN", help=f"its token for the cloud (or ${CLOUD_TOKEN_VARIABLE})"
    )
    till.add_argument(
        "--box",
        metavar="PLACE",
        help="where the box is, as HOST:PORT: looked at last; http://HOST:PORT: a box without TLS, only there",
    )
    till.add_argument("--lang", choices=get_args(Lang), default="fr", help="of sentences for the cashier")

    discover = commands.add_parser("discover", parents=[interface], help="list the boxes on the LAN")
    discover.add_argument("--seconds", type=float, default=3.0, help="how long to listen")
    discover.add_argument("--json", action="store_true", help="one JSON object a line")
    discover.set_defaults(command=_discover)

    pairing = commands.add_parser(
        "pair", parents=[state, interface], help="come to know a box by the code that it shows"
    )
    pairing.add_argument(
        "code", nargs="?", metavar="CODE", help="what the QR code says; - reads standard input"
    )
    pairing.add_argument("--file", metavar="FILE", help="a file that holds the code")
    pairing.add_argument("--till", required=True, metavar="ID", help="what this till is called in sales")
    pairing.add_argument("--name", default="", metavar="NAME", help="what people call it")
    pairing.set_defaults(command=_pair)

    locating = commands.add_parser("locate", parents=[till], help="look for the paired box, step by step")
    locating.set_defaults(command=_locate)

    run = commands.add_parser(
        "run", parents=[till], help="play a script, then wait until all is in the cloud"
    )
    run.add_argument(
        "--script", required=True, metavar="FILE", help="steps as NDJSON; - reads standard input"
    )
    run.add_argument("--report", action="store_true", help="say in words on standard error how it went")
    run.set_defaults(command=_run)

    sell = commands.add_parser("sell", parents=[till], help="sell one ticket")
    sell.add_argument("--operator", default="1", metavar="ID", help="who sells")
    sell.add_argument("article", nargs="+", metavar="CODE[xQTY]", help="article id or GTIN, and how many")
    sell.set_defaults(command=_sell)

    status = commands.add_parser("status", parents=[till], help="how the box and this till are, as JSON")
    status.set_defaults(command=_status)

    copies = commands.add_parser(
        "copies", parents=[state], help="the copies of this till, one JSON object a line"
    )
    copies.add_argument("--state-filter", choices=get_args(State), help="only those in this state")
    copies.set_defaults(command=_copies)
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""The command `storebox-cloud`. Every command works beside a running daemon, and without one.

Exit codes: 0 fine, 1 failed, 2 misuse.
"""

import argparse
import asyncio
import logging
import random
import sqlite3
import sys
from collections.abc import Callable, Coroutine, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlalchemy.exc import DBAPIError

from appliance.domain.catalogue import Article
from appliance.domain.enrolling import CLAIM_MINUTES_MAX
from appliance.domain.errors import ConfigError, StoreboxError
from appliance.domain.sale import Identifier
from appliance.runtime.clock import SystemClock, rfc3339
from appliance.runtime.logs import log_to_stderr
from appliance.runtime.notify import notify
from appliance.runtime.process import run_daemon
from cloud import auth, cli_identity, cli_updates, store_catalogue
from cloud.articles import make_articles, read_articles
from cloud.config import Settings, settings_from
from cloud.wiring import Office, open_daemon, open_office, prepare

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Command = Callable[[Settings, argparse.Namespace], int]

MISUSE = 2
SHOP_NAME_MAX = 100
COUNT_MAX = 1_000_000


def main() -> None:
    """Entry point."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Do one command; the exit code."""
    args = _parser().parse_args(arguments)
    try:
        settings = settings_from(args.config, state=args.state, host=args.host, port=args.port, tls=args.tls)
        code: int = args.command(settings, args)
    except ConfigError as error:
        return _failed(error, MISUSE)
    except (StoreboxError, OSError, DBAPIError, sqlite3.Error) as error:
        return _failed(error, 1)
    return code


def _failed(error: Exception, code: int) -> int:
    print(f"storebox-cloud: {error}", file=sys.stderr)
    return code


# --- the commands


def serve(settings: Settings, _args: argparse.Namespace) -> int:
    """Run until told to stop."""
    log_to_stderr()

    async def daemon(stop: asyncio.Event) -> None:
        async with open_daemon(settings, SystemClock()) as port:
            host = f"[{settings.host}]" if ":" in settings.host else settings.host
            address = f"{'http' if settings.tls == 'off' else 'https'}://{host}:{port}"
            log.info("cloud.ready", extra={"address": address})
            print(f"ready {address}", flush=True)
            notify("READY=1")
            await stop.wait()
            notify("STOPPING=1")

    run_daemon(daemon)
    return 0


def claim(settings: Settings, args: argparse.Namespace) -> int:
    """A claim that lets one new box into a shop."""
    made = _in_office(
        settings,
        lambda office: office.enrolment.new_claim(
            args.shop, args.name or "", args.minutes, key_hash=args.key_hash, by="head-office"
        ),
    )
    return _show(args, made, made.claim)


def till_token(settings: Settings, args: argparse.Namespace) -> int:
    """A token for a till that talks to head office itself."""
    now = rfc3339(SystemClock().wall())
    token = _in_office(
        settings, lambda office: auth.issue_to_till(office.database, args.shop, args.till, at=now)
    )
    return _show(args, {"token": token, "shop": args.shop, "till": args.till}, token)


def technician_token(settings: Settings, args: argparse.Namespace) -> int:
    """A token for a technician who rescues the cards of a shop's dead boxes."""
    now = SystemClock().wall()
    until = rfc3339(now + timedelta(hours=args.hours))
    token = _in_office(
        settings,
        lambda office: auth.issue_to_technician(
            office.database, args.shop, args.name, until, at=rfc3339(now)
        ),
    )
    return _show(args, {"token": token, "shop": args.shop, "name": args.name, "until": until}, token)


def admin_token(settings: Settings, args: argparse.Namespace) -> int:
    """Head office's own token."""

    async def read(office: Office) -> str:
        return office.token

    token = _in_office(settings, read)
    return _show(args, {"token": token}, token)


def catalogue_import(settings: Settings, args: argparse.Namespace) -> int:
    """Publish a file as the catalogue."""
    return _publish(settings, args, read_articles(args.file, args.seed), origin=args.file.name)


def catalogue_make(settings: Settings, args: argparse.Namespace) -> int:
    """Publish a made-up catalogue."""
    articles = make_articles(args.articles, args.seed, random.Random(args.seed))
    return _publish(settings, args, articles, origin=f"made of seed {args.seed}")


def policy_import(settings: Settings, args: argparse.Namespace) -> int:
    """Put a policy file into force."""
    text = args.file.read_bytes()
    policy = _in_office(settings, lambda office: office.policy.replace(text))
    return _show(args, policy, f"policy {policy.version} is in force: {len(policy.online_only)} operations")


def policy_show(settings: Settings, args: argparse.Namespace) -> int:
    """Print the policy in force."""
    policy = _in_office(settings, lambda office: office.policy.in_force())
    lines = [f"policy {policy.version}", *(f"{name}: {rule.fr}" for name, rule in policy.online_only.items())]
    return _show(args, policy, "\n".join(lines))


def _in_office(settings: Settings, work: Callable[[Office], Coroutine[Any, Any, Result]]) -> Result:
    async def inside() -> Result:
        async with open_office(settings, SystemClock()) as office:
            return await work(office)

    return asyncio.run(inside())


def _publish(
    settings: Settings, args: argparse.Namespace, articles: Iterable[Article], *, origin: str
) -> int:
    clock = SystemClock()
    prepare(settings, clock)
    done = store_catalogue.publish(settings.database, articles, origin=origin, at=rfc3339(clock.wall()))
    text = (
        f"catalogue {done.version}: {done.articles} articles, {done.changed} changed, {done.deleted} deleted"
    )
    return _show(args, done, text)


def _show(args: argparse.Namespace, data: object, text: str) -> int:
    print(msgspec.json.encode(data).decode() if args.json else text)
    return 0


# --- the arguments


def _parser() -> argparse.ArgumentParser:
    place = argparse.ArgumentParser(add_help=False)
    place.add_argument("--config", type=Path, metavar="FILE", help="settings as TOML; flags win over it")
    place.add_argument("--state", type=Path, metavar="DIR", help="where data and keys are kept")
    place.set_defaults(host=None, port=None, tls=None)
    shown = argparse.ArgumentParser(add_help=False, parents=[place])
    shown.add_argument("--json", action="store_true", help="print JSON")

    parser = argparse.ArgumentParser(
        prog="storebox-cloud", description="The reference head office of storebox."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = _command(commands, "run", serve, place, "serve until told to stop")
    command.add_argument("--host", help="address to listen on")
    command.add_argument("--port", type=int, help="port to listen on; 0: any free one")
    command.add_argument(
        "--tls", choices=["on", "off"], help="off: plain HTTP, on loopback or behind proxies"
    )

    command = _command(commands, "claim", claim, shown, "a single-use claim for one new box")
    command.add_argument("--shop", required=True, type=_name, help="the shop's number, e.g. S042")
    command.add_argument("--name", type=_shop_name, help="the shop's name, e.g. Nantes Centre")
    command.add_argument("--minutes", type=_minutes, default=10, help="how long it can be used (10)")
    command.add_argument("--key-hash", default="", metavar="FP", help="only for the box with this key")

    command = _command(commands, "till-token", till_token, shown, "a token for one till")
    command.add_argument("--shop", required=True, type=_name)
    command.add_argument("--till", required=True, type=_name)

    command = _command(
        commands,
        "technician-token",
        technician_token,
        shown,
        "a token to rescue cards of a shop's dead boxes",
    )
    command.add_argument("--shop", required=True, type=_name)
    command.add_argument("--name", required=True, type=_name, help="who rescues; the earlier token ends")
    command.add_argument("--hours", type=_count, default=24, help="how long it can be used (24)")

    cli_identity.add_commands(commands, shown)
    cli_updates.add_commands(commands, shown)
    _command(commands, "admin-token", admin_token, shown, "print head office's own token")

    groups = commands.add_parser("catalogue", help="publish a catalogue").add_subparsers(
        required=True, metavar="COMMAND"
    )
    command = _command(
        groups, "import", catalogue_import, shown, "from a file: a table gtin<TAB>name, or NDJSON"
    )
    command.add_argument("file", type=Path, metavar="FILE")
    command.add_argument("--seed", type=int, default=1, help="of the prices that a table lacks (1)")
    command = _command(groups, "make", catalogue_make, shown, "a made-up one for a first start")
    command.add_argument("--articles", type=_count, default=500, help="how many (500)")
    command.add_argument("--seed", type=int, default=1, help="the same seed makes the same catalogue (1)")

    groups = commands.add_parser("policy", help="what passes only online").add_subparsers(
        required=True, metavar="COMMAND"
    )
    command = _command(groups, "import", policy_import, shown, "put a policy file (JSON) into force")
    command.add_argument("file", type=Path, metavar="FILE")
    _command(groups, "show", policy_show, shown, "print the policy in force")
    return parser


def _command(
    commands: Any, name: str, does: Command, parent: argparse.ArgumentParser, text: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text, parents=[parent])
    parser.set_defaults(command=does)
    return parser


def _name(text: str) -> str:
    try:
        return msgspec.convert(text, Identifier)
    except msgspec.ValidationError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: 1 to 64 printable ASCII signs") from error


def _shop_name(text: str) -> str:
    if not 0 < len(text.strip()) <= SHOP_NAME_MAX:
        raise argparse.ArgumentTypeError(f"1 to {SHOP_NAME_MAX} signs")
    return text.strip()


def _minutes(text: str) -> int:
    minutes = _count(text)
    if minutes > CLAIM_MINUTES_MAX:
        raise argparse.ArgumentTypeError(f"at most {CLAIM_MINUTES_MAX}")
    return minutes


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= COUNT_MAX:
        raise argparse.ArgumentTypeError(f"{text!r}: a number from 1 to {COUNT_MAX}")
    return int(text)

"""The commands about tills: let one in, list, rename and revoke them."""

import argparse
import json
import sys
from urllib.parse import quote

import msgspec
import segno

from appliance.config import load_config
from appliance.domain.errors import ConfigError
from appliance.domain.pairing import WINDOW_MINUTES_MAX, PairingOpen, PairingView, TillName, TillView
from appliance.gateways.daemon import ask_daemon
from appliance.gateways.tills import TillBook
from appliance.places import files_in
from appliance.services.presence import CONSOLE

PAIRING, TILLS = "/v1/pairing", "/v1/tills"
FINE = 0


def pair(options: argparse.Namespace) -> int:
    """Print a new token for a till, bound to no key; its earlier tokens end. Only where there is no TLS."""
    config = load_config(options.config)
    config.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    if config.lan.tls != "off":
        raise ConfigError('tills pair by themselves over TLS; this command is for lan.tls = "off"')
    if options.till == CONSOLE:
        raise ConfigError(f"{CONSOLE!r} is the box's own name for itself")
    print(TillBook(files_in(config).tills).pair(options.till))
    return FINE


def open_pairing(options: argparse.Namespace) -> int:
    """Open the pairing window, and show the code that lets the next till in."""
    if not 1 <= options.minutes <= WINDOW_MINUTES_MAX:
        raise ConfigError(f"--minutes: from 1 to {WINDOW_MINUTES_MAX}")
    _show(options, _ask(options, "POST", PAIRING, PairingOpen(options.minutes)))
    return FINE


def show_pairing(options: argparse.Namespace) -> int:
    """Show the code that lets the next till in: another one after each till."""
    _show(options, _ask(options, "GET", PAIRING))
    return FINE


def close_pairing(options: argparse.Namespace) -> int:
    """Let nobody else in."""
    _ask(options, "DELETE", PAIRING)
    _say(options, {"open": False}, "pairing is closed")
    return FINE


def list_tills(options: argparse.Namespace) -> int:
    """Print the paired tills."""
    body = _ask(options, "GET", TILLS)
    if options.json:
        print(body.decode())
        return FINE
    for till in msgspec.json.decode(body, type=list[TillView]):
        seen = "not since the box started" if till.last_seen_s is None else f"{till.last_seen_s:.0f} s ago"
        print(
            f"{till.till:<12} {till.name:<24} paired {till.paired_at or 'never here'} by {till.by or '-'}, seen {seen}"
        )
    return FINE


def rename_till(options: argparse.Namespace) -> int:
    """Give a till another name for people."""
    body = _ask(options, "PATCH", _path(options.till), TillName(options.name))
    _say(options, msgspec.json.decode(body), f"{options.till} is called {options.name!r}")
    return FINE


def revoke_till(options: argparse.Namespace) -> int:
    """Let a till in no more, from its next request on."""
    _ask(options, "DELETE", _path(options.till))
    _say(options, {"till": options.till, "revoked": True}, f"{options.till} is let in no more")
    return FINE


def _ask(options: argparse.Namespace, method: str, path: str, body: msgspec.Struct | None = None) -> bytes:
    files = files_in(load_config(options.config))
    sent = None if body is None else msgspec.json.encode(body)
    return ask_daemon(files.url, files.console_token, method, path, sent)


def _path(till: str) -> str:
    return f"{TILLS}/{quote(till, safe='')}"


def _say(options: argparse.Namespace, view: object, text: str) -> None:
    print(json.dumps(view) if options.json else text)


def _show(options: argparse.Namespace, body: bytes) -> None:
    if options.json:
        print(body.decode())
        return
    view = msgspec.json.decode(body, type=PairingView)
    if options.qr:
        segno.make(view.payload, error="m").terminal(sys.stdout, compact=True)
    print(view.payload)
    print(f"good for one till, for {view.expires_s / 60:.0f} minutes and {view.tries_left} tries")


def add_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", configured: argparse.ArgumentParser
) -> None:
    """Add the commands to the parser of `storebox`."""
    pair_command = commands.add_parser(
        "pair", parents=[configured], help="print a new token for a till, where there is no TLS"
    )
    pair_command.add_argument("--till", required=True, metavar="ID", help="the till's id, as in its sales")
    pair_command.set_defaults(command=pair)

    answering = argparse.ArgumentParser(add_help=False, parents=[configured])
    answering.add_argument("--json", action="store_true", help="print one JSON object")
    showing = argparse.ArgumentParser(add_help=False, parents=[answering])
    showing.add_argument("--qr", action="store_true", help="draw the code for a camera, too")

    pairing = commands.add_parser("pairing", help="let tills in over TLS")
    actions = pairing.add_subparsers(required=True, metavar="ACTION")
    opening = actions.add_parser("open", parents=[showing], help="open the window and show its code")
    opening.add_argument("--minutes", type=int, default=10, metavar="N", help="how long it stays open")
    opening.set_defaults(command=open_pairing)
    shown = actions.add_parser("show", parents=[showing], help="show the code for the next till")
    shown.set_defaults(command=show_pairing)
    closing = actions.add_parser("close", parents=[answering], help="let nobody else in")
    closing.set_defaults(command=close_pairing)

    tills = commands.add_parser("tills", help="the paired tills")
    deeds = tills.add_subparsers(required=True, metavar="ACTION")
    listing = deeds.add_parser("list", parents=[answering], help="print them")
    listing.set_defaults(command=list_tills)
    renaming = deeds.add_parser("rename", parents=[answering], help="give one another name for people")
    renaming.add_argument("--till", required=True, metavar="ID", help="the till's id")
    renaming.add_argument("--name", required=True, metavar="TEXT", help="its new name")
    renaming.set_defaults(command=rename_till)
    revoking = deeds.add_parser("revoke", parents=[answering], help="let one in no more")
    revoking.add_argument("--till", required=True, metavar="ID", help="the till's id")
    revoking.set_defaults(command=revoke_till)

"""Commands of `storebox-cloud` about who may come in: boxes, swaps, pairing, the audit, the chain's authority."""

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import msgspec
import segno

from appliance.domain.enrolling import CLAIM_MINUTES_MAX, BoxView
from appliance.domain.pairing import WINDOW_MINUTES_MAX
from appliance.runtime.clock import SystemClock
from cloud.authority import Authority
from cloud.boxes import HEAD_OFFICE, BoxDesk
from cloud.config import Settings
from cloud.wiring import Office, open_office

Result = TypeVar("Result")
AUDIT_ROWS = 1_000


def box_list(settings: Settings, args: argparse.Namespace) -> int:
    """Every box, and its state."""
    boxes = _at_desk(settings, lambda desk: desk.boxes(HEAD_OFFICE))
    return _show(args, boxes, "\n".join(map(_line, boxes)) or "no box has enrolled yet")


def box_revoke(settings: Settings, args: argparse.Namespace) -> int:
    """Believe a box no more."""
    _at_desk(settings, lambda desk: desk.revoke(HEAD_OFFICE, args.box, args.reason))
    return _show(args, {"box": args.box, "revoked": True}, f"{args.box} is revoked")


def swap(settings: Settings, args: argparse.Namespace) -> int:
    """A claim for the box that takes a dead one's place."""
    made = _at_desk(
        settings,
        lambda desk: desk.replace(HEAD_OFFICE, args.old, minutes=args.minutes, key_hash=args.key_hash),
    )
    return _show(args, made, made.claim)


def pairing_open(settings: Settings, args: argparse.Namespace) -> int:
    """Have a box open its pairing window at its next heartbeat."""
    view = _at_desk(settings, lambda desk: desk.order_pairing(HEAD_OFFICE, args.box, args.minutes))
    if args.qr and not args.json:
        segno.make_qr(view.payload, error="m").terminal(sys.stdout, compact=True)
    return _show(args, view, view.payload)


def audit(settings: Settings, args: argparse.Namespace) -> int:
    """Who did what to who may come in."""
    rows = _at_desk(settings, lambda desk: desk.audit(args.after, AUDIT_ROWS))
    lines = [
        f"{row.number}\t{row.at}\t{row.who}\t{row.action}\t{row.subject}\t{msgspec.json.encode(row.data).decode()}"
        for row in rows
    ]
    return _show(args, rows, "\n".join(lines) or "nothing yet")


def authority_show(settings: Settings, args: argparse.Namespace) -> int:
    """The chain's root: by its pin boxes and technicians know head office."""

    async def read(office: Office) -> Authority:
        return office.authority

    authority = _in_office(settings, read)
    text = {"pem": authority.root_pem.strip(), "pin": authority.pin}[args.what]
    return _show(args, {"pin": authority.pin, "pem": authority.root_pem}, text)


def _line(box: BoxView) -> str:
    return "\t".join([box.box, box.shop, box.state, box.certificate_until or "-", ", ".join(box.addresses)])


def _at_desk(settings: Settings, work: Callable[[BoxDesk], Coroutine[Any, Any, Result]]) -> Result:
    async def inside(office: Office) -> Result:
        return await work(BoxDesk(office.database, office.enrolment, office.clock))

    return _in_office(settings, inside)


def _in_office(settings: Settings, work: Callable[[Office], Coroutine[Any, Any, Result]]) -> Result:
    clock = SystemClock()

    async def inside() -> Result:
        async with open_office(settings, clock) as office:
            return await work(office)

    return asyncio.run(inside())


def _show(args: argparse.Namespace, data: object, text: str) -> int:
    print(msgspec.json.encode(data).decode() if args.json else text)
    return 0


# --- the arguments


def add_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", shown: argparse.ArgumentParser
) -> None:
    """Make the commands known; `shown` brings the options that they share."""
    groups = commands.add_parser("box", help="the boxes").add_subparsers(required=True, metavar="COMMAND")
    _command(groups, "list", box_list, shown, "every box and its state")
    command = _command(groups, "revoke", box_revoke, shown, "believe a box no more")
    command.add_argument("--box", required=True, metavar="ID")
    command.add_argument("--reason", required=True, type=_reason, metavar="TEXT", help="for the audit")

    command = _command(commands, "swap", swap, shown, "a claim for the box that takes a dead one's place")
    command.add_argument(
        "--old", required=True, metavar="ID", help="the dead box; revoked when the new one enrols"
    )
    command.add_argument(
        "--minutes", type=_up_to(CLAIM_MINUTES_MAX), default=10, help="how long it can be used (10)"
    )
    command.add_argument("--key-hash", default="", metavar="FP", help="only for the box with this key")

    groups = commands.add_parser("pairing", help="let tills in").add_subparsers(
        required=True, metavar="COMMAND"
    )
    command = _command(
        groups, "open", pairing_open, shown, "have a box open its pairing window; prints the code"
    )
    command.add_argument("--box", required=True, metavar="ID")
    command.add_argument("--minutes", type=_up_to(WINDOW_MINUTES_MAX), default=10, help="how long (10)")
    command.add_argument("--qr", action="store_true", help="draw the code, too")

    command = _command(commands, "audit", audit, shown, "who did what to who may come in")
    command.add_argument(
        "--after", type=int, default=0, metavar="NUMBER", help="only what came after this row"
    )

    groups = commands.add_parser("authority", help="the chain's authority").add_subparsers(
        required=True, metavar="COMMAND"
    )
    command = _command(groups, "show", authority_show, shown, "the root's pin, or the root itself")
    what = command.add_mutually_exclusive_group()
    what.add_argument("--pin", dest="what", action="store_const", const="pin", help="the pin (default)")
    what.add_argument("--pem", dest="what", action="store_const", const="pem", help="the certificate")
    command.set_defaults(what="pin")


def _command(
    commands: Any,
    name: str,
    does: Callable[[Settings, argparse.Namespace], int],
    parent: argparse.ArgumentParser,
    text: str,
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text, parents=[parent])
    parser.set_defaults(command=does)
    return parser


def _reason(text: str) -> str:
    if not 0 < len(text.strip()) <= 200:
        raise argparse.ArgumentTypeError("1 to 200 signs")
    return text.strip()


def _up_to(most: int) -> Callable[[str], int]:
    def minutes(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"a number from 1 to {most}")
        return int(text)

    return minutes

"""The command `storebox-provision`.

Exit codes: 0 fine, 1 failed, 2 misuse, 3 refused by head office, 4 nobody answers.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from appliance import __version__
from appliance.domain.enrolling import CLAIM_MINUTES_MAX, Pin
from appliance.domain.errors import ConfigError, StoreboxError
from appliance.domain.sale import Identifier
from provisioning import first_boot, office, show
from provisioning.claim import WAIT_S, claim
from provisioning.discover import discover
from provisioning.doctor import doctor
from provisioning.errors import FAILED, MISUSE, NO_ANSWER, REFUSED, NoAnswer, Refused
from provisioning.flash import flash
from provisioning.label import label
from provisioning.swap import revoke, swap

SECONDS_MAX = 600
TEXT_MAX = 200
# Options whose value is a hash.
HASHES = ("--authority", "--key-hash")


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit with its code."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Do one command; the exit code."""
    args = _parser().parse_args(_held_together(sys.argv[1:] if arguments is None else arguments))
    try:
        code: int = args.command(args)
    except ConfigError as error:
        return _failed(error, MISUSE)
    except Refused as error:
        return _failed(error, REFUSED)
    except NoAnswer as error:
        return _failed(error, NO_ANSWER)
    except StoreboxError as error:
        return _failed(error, FAILED)
    except KeyboardInterrupt:
        return FAILED
    return code


def _held_together(arguments: list[str]) -> list[str]:
    """A hash in base64url may begin with a hyphen; on its own, argparse takes it for an option."""
    held: list[str] = []
    for argument in arguments:
        if held and held[-1] in HASHES:
            held[-1] += f"={argument}"
        else:
            held.append(argument)
    return held


def _failed(error: StoreboxError, code: int) -> int:
    show.step(f"storebox-provision: {error}")
    return code


# --- the arguments


def _parser() -> argparse.ArgumentParser:
    shown = argparse.ArgumentParser(add_help=False)
    shown.add_argument("--json", action="store_true", help="print one JSON object")
    asking = argparse.ArgumentParser(add_help=False, parents=[shown])
    office.add_options(asking)
    looking = argparse.ArgumentParser(add_help=False)
    looking.add_argument("--seconds", type=_seconds, default=3.0, help="how long to look for boxes (3)")
    looking.add_argument(
        "--interface", action="append", default=[], metavar="ADDRESS", help="of this machine, to look on"
    )

    parser = argparse.ArgumentParser(
        prog="storebox-provision", description="Bring boxes to life, swap and revoke them."
    )
    parser.add_argument("--version", action="version", version=f"storebox {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = _command(commands, "claim", claim, [asking], "let a new box into a shop")
    command.add_argument("--shop", required=True, type=_name, help="the shop's number, e.g. S042")
    command.add_argument("--name", default="", type=_text, help="the shop's name, e.g. Nantes Centre")
    _add_claim(command)

    command = _command(commands, "flash", flash, [asking], "write an image onto a card, and read it back")
    command.add_argument("--image", required=True, type=Path, metavar="FILE", help="may be packed: .zst")
    command.add_argument("--to", required=True, type=Path, metavar="DEVICE|FILE", help="the card")
    command.add_argument(
        "--verify-key", type=Path, metavar="FILE", help="write only what this public key (PEM) signed"
    )
    command.add_argument("--claim-file", type=Path, metavar="FILE", help="a claim that the first boot uses")
    first_boot.add_options(command)
    command.add_argument("--yes", action="store_true", help="everything on the card may be lost")
    command.add_argument(
        "--yes-this-disk", metavar="NAME", help="write this disk though it is not removable, e.g. sdb"
    )

    command = _command(commands, "label", label, [shown], "draw the label of a box, with its QR code")
    command.add_argument("--box", metavar="ID")
    command.add_argument("--key-hash", metavar="FP")
    command.add_argument("--from", dest="source", metavar="HOST[:PORT]", help="ask the box instead")
    command.add_argument("--out", required=True, type=Path, metavar="FILE", help="a .pdf or a .png")

    _command(commands, "discover", discover, [asking, looking], "list the boxes on this LAN")

    command = _command(commands, "swap", swap, [asking], "put a new box in a dead one's place")
    command.add_argument("--old", required=True, metavar="ID", help="the dead box")
    _add_claim(command)

    command = _command(commands, "revoke", revoke, [asking], "believe a box no more")
    command.add_argument("--box", required=True, type=_box, metavar="ID")
    command.add_argument("--reason", required=True, type=_reason, metavar="TEXT", help="for the audit")

    command = _command(commands, "doctor", doctor, [asking, looking], "say what is wrong here")
    command.add_argument("--box", metavar="HOST[:PORT]", help="look at this box; else at all that announce")
    return parser


def _add_claim(command: argparse.ArgumentParser) -> None:
    """Where a claim goes, and for whom it is."""
    command.add_argument(
        "--key-hash", default="", type=_pin, metavar="FP", help="only for the box with this key"
    )
    command.add_argument(
        "--minutes", type=_minutes, default=CLAIM_MINUTES_MAX, help="how long it can be used (10)"
    )
    place = command.add_mutually_exclusive_group()
    place.add_argument("--to", type=Path, metavar="FILE", help="write it there instead of printing it")
    place.add_argument(
        "--box", metavar="HOST[:PORT]", help="hand it to the box there, and wait until it sells"
    )
    command.add_argument(
        "--wait",
        type=_seconds,
        default=WAIT_S,
        metavar="SECONDS",
        help="for the box (120), then for its enrolment",
    )


def _command(
    commands: Any,
    name: str,
    does: Callable[[argparse.Namespace], int],
    parents: list[argparse.ArgumentParser],
    text: str,
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text, parents=parents)
    parser.set_defaults(command=does)
    return parser


def _name(text: str) -> str:
    return _converted(text, Identifier, "1 to 64 printable ASCII signs")


def _pin(text: str) -> str:
    return _converted(text.replace(" ", ""), Pin, "the hash of a key has 43 characters")


def _box(text: str) -> str:
    if not (text.isascii() and text.replace("-", "").isalnum()):
        raise argparse.ArgumentTypeError(f"{text!r} is no id of a box")
    return text


def _converted(text: str, kind: Any, rule: str) -> str:
    try:
        return str(msgspec.convert(text, kind))
    except msgspec.ValidationError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {rule}") from error


def _text(text: str) -> str:
    if len(text.strip()) > TEXT_MAX:
        raise argparse.ArgumentTypeError(f"at most {TEXT_MAX} signs")
    return text.strip()


def _reason(text: str) -> str:
    if not _text(text):
        raise argparse.ArgumentTypeError("say why")
    return _text(text)


def _minutes(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= CLAIM_MINUTES_MAX:
        raise argparse.ArgumentTypeError(f"a number from 1 to {CLAIM_MINUTES_MAX}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= SECONDS_MAX:
        raise argparse.ArgumentTypeError(f"seconds, up to {SECONDS_MAX}")
    return seconds


if __name__ == "__main__":
    main()

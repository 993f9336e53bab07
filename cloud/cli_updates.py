"""Commands of `storebox-cloud` about updates: publish a bundle, say who gets it, see what became of it."""

import argparse
import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from appliance.domain.errors import BadInput
from appliance.runtime.clock import SystemClock
from cloud.config import Settings
from cloud.updates import HALT_AFTER, BundleFacts, Circle, RolloutView, UpdateDesk
from cloud.wiring import desk_of, open_office

Result = TypeVar("Result")


def publish(settings: Settings, args: argparse.Namespace) -> int:
    """Keep a bundle for boxes."""
    said = {
        "version": args.version,
        "compatible": args.compatible,
        "floor": args.floor,
        "notes": {"fr": args.notes_fr, "en": args.notes_en},
    }
    try:
        facts = msgspec.convert(said, BundleFacts)
    except msgspec.ValidationError as error:
        raise BadInput(str(error)) from error
    kept = _at_desk(settings, lambda desk: desk.publish(args.file, facts))
    text = f"bundle {kept.number}: {kept.version} for {kept.compatible}, {kept.size} bytes, {kept.sha256}"
    return _show(args, kept, text)


def roll_out(settings: Settings, args: argparse.Namespace) -> int:
    """Begin to offer a bundle."""
    circle = Circle(args.box, args.shop, args.percent, args.halt_after)
    number = _at_desk(settings, lambda desk: desk.roll_out(args.bundle, circle))
    return _show(args, {"rollout": number}, f"rollout {number} begins")


def widen(settings: Settings, args: argparse.Namespace) -> int:
    """Make a rollout's ring larger."""
    _at_desk(settings, lambda desk: desk.widen(args.rollout, args.percent))
    return _show(
        args, {"rollout": args.rollout, "percent": args.percent}, f"rollout {args.rollout}: {args.percent} %"
    )


def halt(settings: Settings, args: argparse.Namespace) -> int:
    """Offer it to nobody any more."""
    _at_desk(settings, lambda desk: desk.halt(args.rollout, args.reason))
    return _show(args, {"rollout": args.rollout, "halted": True}, f"rollout {args.rollout} is halted")


def overview(settings: Settings, args: argparse.Namespace) -> int:
    """All bundles and rollouts."""
    bundles, rollouts = _at_desk(settings, lambda desk: desk.overview())
    lines = [f"bundle {one.number}: {one.version} for {one.compatible}, since {one.at}" for one in bundles]
    lines += map(_line, rollouts)
    return _show(args, {"bundles": bundles, "rollouts": rollouts}, "\n".join(lines) or "nothing yet")


def outcomes(settings: Settings, args: argparse.Namespace) -> int:
    """What became of a rollout on each box."""
    said = _at_desk(settings, lambda desk: desk.outcomes(args.rollout))
    lines = [
        f"{one.box}\t{one.rollout}\t{one.version}\t{one.kind}\t{one.reason}\t{one.detail}" for one in said
    ]
    return _show(args, said, "\n".join(lines) or "nothing yet")


def _line(view: RolloutView) -> str:
    rollout = view.rollout
    who = [*rollout.boxes, *rollout.shops, *([f"{rollout.percent} %"] if rollout.percent else [])]
    said = ", ".join(f"{word} {count}" for word, count in sorted(view.said.items())) or "nothing heard yet"
    halted = f"; halted: {rollout.halted_why}" if rollout.halted_at else ""
    return f"rollout {rollout.number}: {view.version} for {', '.join(who)}: {said}{halted}"


def _at_desk(settings: Settings, work: Callable[[UpdateDesk], Coroutine[Any, Any, Result]]) -> Result:
    async def inside() -> Result:
        async with open_office(settings, SystemClock()) as office:
            return await work(desk_of(office))

    return asyncio.run(inside())


def _show(args: argparse.Namespace, data: object, text: str) -> int:
    print(msgspec.json.encode(data).decode() if args.json else text)
    return 0


def add_commands(commands: Any, shown: argparse.ArgumentParser) -> None:
    """Make the commands known."""
    groups = commands.add_parser("update", help="publish updates and say who gets them").add_subparsers(
        required=True, metavar="COMMAND"
    )
    command = _command(groups, "publish", publish, shown, "keep a bundle's file for boxes")
    command.add_argument("file", type=Path, metavar="FILE")
    command.add_argument("--version", required=True, help="as in its manifest, e.g. 0.2.0")
    command.add_argument("--compatible", required=True, help="the hardware, as in its manifest")
    command.add_argument("--floor", default="0.0.0", help="nothing older is installed any more (0.0.0)")
    command.add_argument("--notes-fr", default="", metavar="TEXT", help="what changed, in French")
    command.add_argument("--notes-en", default="", metavar="TEXT", help="what changed, in English")

    command = _command(groups, "roll-out", roll_out, shown, "begin to offer a bundle")
    command.add_argument("bundle", type=int, metavar="BUNDLE")
    command.add_argument(
        "--box", action="append", default=[], metavar="ID", help="to this box; again for more"
    )
    command.add_argument("--shop", action="append", default=[], help="to this shop's boxes; again for more")
    command.add_argument("--percent", type=int, default=0, help="to so many of all boxes")
    command.add_argument(
        "--halt-after",
        type=int,
        default=HALT_AFTER,
        metavar="N",
        help=f"boxes that go back until it stops ({HALT_AFTER})",
    )
    command = _command(groups, "widen", widen, shown, "offer it to more boxes")
    command.add_argument("rollout", type=int, metavar="ROLLOUT")
    command.add_argument("--percent", type=int, required=True)
    command = _command(groups, "halt", halt, shown, "offer it to nobody any more")
    command.add_argument("rollout", type=int, metavar="ROLLOUT")
    command.add_argument("--reason", required=True, metavar="TEXT")
    _command(groups, "list", overview, shown, "all bundles and rollouts")
    command = _command(groups, "outcomes", outcomes, shown, "what became of it on each box")
    command.add_argument("--rollout", type=int, help="of this one alone")


def _command(
    groups: Any,
    name: str,
    does: Callable[[Settings, argparse.Namespace], int],
    parent: argparse.ArgumentParser,
    text: str,
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = groups.add_parser(name, help=text, description=text, parents=[parent])
    parser.set_defaults(command=does)
    return parser

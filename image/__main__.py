"""`python -m image build|lock`: the image of a box. Exit codes: 0 done, 1 failed, 2 misuse."""

import argparse
import os
import sys
from pathlib import Path

from image.build import build
from image.packages import Package, lock_file, read_lock, resolve
from image.recipe import HEADERS, RECIPES, TOOLS
from image.release import development_key, release
from image.tools import Failed

WORK = Path(".image")


def make(args: argparse.Namespace) -> None:
    """Build an image of this checkout, and all that goes with it."""
    if os.geteuid() != 0:
        raise Failed("a root file system is made by root")
    source, work = Path.cwd(), WORK.resolve()
    work.mkdir(exist_ok=True)
    made = build(args.arch, source, work, fresh=args.fresh)
    key = args.key or development_key(work)
    release(args.arch, made, key, work / f"release.{args.arch}")


def lock(args: argparse.Namespace) -> None:  # noqa: ARG001  a command takes its options, and this one has none
    """Take today's versions of all packages."""
    apt = WORK.resolve() / "apt"
    for recipe in RECIPES.values():
        found = resolve(recipe.architecture, recipe.packages, apt / recipe.architecture, recipe.backports)
        write_lock(recipe.architecture, found)
    write_lock("tools", resolve("amd64", TOOLS, apt / "tools"))
    # Headers and compiler come on top of a Pi's own packages: what these bring is not named twice.
    pi = RECIPES["rpi"]
    found = resolve(pi.architecture, (*pi.packages, *HEADERS), apt / pi.architecture, pi.backports)
    there = set(read_lock(lock_file(pi.architecture)))
    write_lock("headers", [package for package in found if package not in there])


def write_lock(name: str, found: list[Package]) -> None:
    """Write down what was found, and say how much it is."""
    lock_file(name).write_text("".join(f"{package.sha256}  {package.path}\n" for package in found))
    print(f"{lock_file(name).name}: {len(found)} packages")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="image", description="the image of a box")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("build", help="build an image")
    command.add_argument("--arch", choices=RECIPES, default="amd64", help="which kind of box (amd64)")
    command.add_argument("--fresh", action="store_true", help="use nothing of an earlier build but packages")
    command.add_argument("--key", type=Path, metavar="PEM", help="signs the checksums (a development key)")
    command.set_defaults(command=make)
    commands.add_parser("lock", help="take today's versions of all packages").set_defaults(command=lock)
    args = parser.parse_args()
    try:
        args.command(args)
    except Failed as error:
        sys.exit(f"image: {error}")


if __name__ == "__main__":
    main()

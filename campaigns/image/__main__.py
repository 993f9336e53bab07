"""`python -m campaigns.image`: boot the image, bring it into a shop, sell, and break what breaks in shops.

Exit codes: 0 all promises held, 1 one broke, 2 misuse.
"""

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.processes import Failed
from campaigns.image import checks, updates
from campaigns.image.machine import BOX
from campaigns.image.scene import Scene, open_scene

ALONE = "STOREBOX_IMAGE_TEST_ALONE"
PARTS: dict[str, Callable[[Scene], None]] = {
    "system": checks.system,
    "sales": checks.sales,
    "power": checks.power,
    "hung": checks.hung,
    "full": checks.full,
    "past": checks.past,
    "update": updates.update,
    "forged": updates.forged,
    "broken": updates.broken,
}


def alone() -> None:
    """Begin again in a network namespace that has a loopback and nothing else, unless this is it."""
    if os.environ.get(ALONE) == "1":
        return
    if os.geteuid() != 0:
        sys.exit("image: needs root, for a network of its own")
    again = shlex.join([sys.executable, "-m", "campaigns.image", *sys.argv[1:]])
    command = [
        "unshare",
        "--net",
        "sh",
        "-c",
        f"ip link set lo up && ip address add {BOX}/32 dev lo && exec {again}",
    ]
    os.execvpe("unshare", command, {**os.environ, ALONE: "1"})  # noqa: S606, S607  our own words


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="campaigns.image", description="the image in an emulated machine")
    parser.add_argument("--image", type=Path, default=Path(".image/amd64/disk.img"), metavar="FILE")
    parser.add_argument("--cuts", type=int, default=30, help="how often the power goes while selling (30)")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part alone (repeatable)")
    parser.add_argument("--patience-s", type=float, default=600.0, help="how long a boot may take here (600)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave disk, consoles and logs there")
    options = parser.parse_args()
    alone()
    broken = list[str]()
    with tempfile.TemporaryDirectory() as folder:
        place = options.keep or Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        try:
            with open_scene(options.image, place, options.patience_s, options.cuts) as scene:
                for name in options.only or PARTS:
                    print(f"== {name}", flush=True)
                    try:
                        PARTS[name](scene)
                    except Failed as error:
                        broken.append(f"{name}: {error}")
                        print(f"BROKEN {broken[-1]}", flush=True)
        except Failed as error:
            sys.exit(f"image: {error}")
        print("\n".join(f"{what:<52} {value}" for what, value in scene.figures))
    if broken:
        sys.exit("\n".join(f"image: {what}" for what in broken))


if __name__ == "__main__":
    main()

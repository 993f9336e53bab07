"""`python -m campaigns.image`: boot the image, bring it into a shop, sell, and break what breaks in shops.

Exit codes: 0 all promises held, 1 one broke, 2 misuse.
"""

import argparse
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.processes import Failed, must
from campaigns.image import checks, faults, updates
from campaigns.image.figures import Figures
from campaigns.image.machine import BOX
from campaigns.image.pi import on_a_pi
from campaigns.image.scene import Scene, open_scene

PACKED_MAX_MB = 450
ALONE = "STOREBOX_IMAGE_TEST_ALONE"
PARTS: dict[str, Callable[[Scene], None]] = {
    "system": checks.system,
    "soak": checks.soak,
    "sales": checks.sales,
    "power": faults.power,
    "hung": faults.hung,
    "full": faults.full,
    "past": faults.past,
    "usb": faults.usb,
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
        f"ip link set lo up && ip route add local {BOX} dev lo src 127.0.0.1 && exec {again}",
    ]
    os.execvpe("unshare", command, {**os.environ, ALONE: "1"})  # noqa: S606, S607  our own words


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="campaigns.image", description="the image in an emulated machine")
    parser.add_argument("--arch", choices=("amd64", "rpi"), default="amd64", help="which image (amd64)")
    parser.add_argument("--image", type=Path, metavar="FILE", help="this one (.image/ARCH/disk.img)")
    parser.add_argument("--cuts", type=int, default=30, help="how often the power goes while selling (30)")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part alone (repeatable)")
    parser.add_argument("--patience-s", type=float, default=600.0, help="how long a boot may take here (600)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave disk, consoles and logs there")
    parser.add_argument(
        "--record", type=Path, metavar="PAGE", help="keep the figures of a whole run that broke nothing there"
    )
    options = parser.parse_args()
    alone()
    # The machine's process ends with us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("image: told to stop"))
    image: Path = options.image or Path(".image", options.arch, "disk.img")
    if not image.exists():
        sys.exit(f"image: {image} is not there: `make image` builds it")
    with tempfile.TemporaryDirectory() as temporary:
        folder: Path = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            parser.error(f"{folder} is not empty")
        figures, broken = Figures(), list[str]()
        try:
            _is_small(image, options.arch, figures)
            if options.arch == "rpi":
                on_a_pi(image, folder, options.patience_s, figures)
            else:
                with open_scene(image, folder, options.patience_s, options.cuts, figures) as scene:
                    _parts(scene, options.only or list(PARTS), broken)
            if options.record and not (options.only or broken):
                figures.keep(options.record, f"image {options.arch}")
        except Failed as error:
            broken.append(str(error))
        print(figures.table())
    if broken:
        sys.exit("\n".join(f"image: {what}" for what in broken))


def _is_small(image: Path, arch: str, figures: Figures) -> None:
    """As it is downloaded, where `make image` left it."""
    packed = sum(path.stat().st_size for path in image.parents[1].glob(f"release.{arch}/*.img.zst"))
    root = (image.parent / "root.erofs").stat().st_size
    figures.note("packed image; root as the box reads it", f"{packed / 1e6:.1f} MB; {root / 1e6:.1f} MB")
    must(0 < packed <= PACKED_MAX_MB * 1e6, f"packed: {packed} bytes")


def _parts(scene: Scene, names: list[str], broken: list[str]) -> None:
    """One after another; what broke joins `broken`. Raises Failed when the box does not come back after that."""
    for name in names:
        print(f"== {name}", flush=True)
        try:
            PARTS[name](scene)
        except Failed as error:
            broken.append(f"{name}: {error}")
            print(f"BROKEN {broken[-1]}", flush=True)
            # Wherever that left the machine: the next part begins with one that is on.
            scene.till.stop()
            scene.machine.cut()
            scene.boot()


if __name__ == "__main__":
    main()

"""The device trees of a Pi 5, whose chip comes in two steppings, and whose firmware picks a tree only for the first."""

import shutil
from pathlib import Path

from image.packages import HERE
from image.tools import Failed, inside

OVERLAY = "bcm2712d0.dtbo"
FIRST, LATER = "bcm2712-rpi-5-b.dtb", "bcm2712-d-rpi-5-b.dtb"


def make_overlay(tools: Path, trees: Path) -> None:
    """Make `/build/bcm2712d0.dtbo` of image/pi/bcm2712d0.dts.

    Raises Failed unless it makes the kernel's tree of the first stepping into its tree of the later one.
    """
    place = tools / "build"
    shutil.copyfile(HERE / "pi/bcm2712d0.dts", place / "bcm2712d0.dts")
    for name in (FIRST, LATER):
        shutil.copyfile(trees / name, place / name)
    inside(tools, "dtc", "-q", "-O", "dtb", "-o", f"/build/{OVERLAY}", "/build/bcm2712d0.dts")
    inside(tools, "fdtoverlay", "-i", f"/build/{FIRST}", "-o", "/build/laid-over.dtb", f"/build/{OVERLAY}")
    if _text(tools, "laid-over.dtb") != _text(tools, LATER):
        raise Failed(f"{OVERLAY} does not make {FIRST} into {LATER}: is the kernel another?")


def _text(tools: Path, name: str) -> bytes:
    return inside(tools, "dtc", "-q", "-s", "-I", "dtb", "-O", "dts", f"/build/{name}")

"""An image from its recipe: the root, what the firmware starts, and the disk that holds both."""

import shutil
import tomllib
from pathlib import Path
from typing import NamedTuple

from image import disk
from image.device_tree import OVERLAY, make_overlay
from image.packages import HERE
from image.recipe import RECIPES, Kind
from image.root import make_root, make_tools
from image.tools import inside, run

# Of the security modules those that do something without a policy: there is none of AppArmor, TOMOYO or IMA, and
# systemd's program for BPF, which no unit asks for, is proven anew at each start, for seconds on a slow processor.
COMMAND_LINE = (
    "ro rootfstype=erofs panic=10 oops=panic systemd.gpt_auto=no systemd.getty_auto=no fsck.mode=skip "
    "systemd.show_status=no loglevel=4 lsm=landlock,lockdown,yama console=tty0"
)


class Image(NamedTuple):
    """What a build made, under `.image/<kind>`. `boot` and `root` are what an update brings."""

    disk: Path
    boot: Path
    root: Path
    tree: Path


def version_of(source: Path) -> str:
    """The release that a checkout is."""
    version: str = tomllib.loads((source / "pyproject.toml").read_text())["project"]["version"]
    return version


def epoch_of(source: Path) -> int:
    """The time that all files of an image have: that of the commit (reproducible-builds.org, SOURCE_DATE_EPOCH)."""
    return int(run("git", "log", "-1", "--format=%ct", folder=source))


def build(kind: Kind, source: Path, work: Path, *, fresh: bool = False) -> Image:
    """Build the image of a checkout. `fresh`: nothing of an earlier build is used but the packages' files."""
    recipe = RECIPES[kind]
    epoch = epoch_of(source)
    if fresh:
        for name in ("tools", recipe.architecture):
            shutil.rmtree(work / f"base.{name}", ignore_errors=True)
    tools = make_tools(epoch, work)
    place = tools / "build"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    tree = place / "root"
    make_root(kind, recipe, version_of(source), epoch, source, work, tree)
    boot_files = _unified_kernel(tools, tree, epoch) if kind == "amd64" else _pi_files(tools, tree)
    config = _pi_first_files(tree) if kind == "rpi" else []
    disk.fat(tools, "/build/boot.vfat", "BOOT", recipe.boot_mib, boot_files, epoch)
    disk.fat(tools, "/build/config.vfat", "SBXCONFIG", recipe.config_mib, config, epoch)
    # The kernel is started from the boot partition; another copy serves nobody.
    shutil.rmtree(tree / "boot")
    for modules in (tree / "usr/lib/modules").iterdir():
        shutil.rmtree(modules / "dtb", ignore_errors=True)
        (modules / "vmlinuz").unlink(missing_ok=True)
    (tree / "boot/firmware").mkdir(parents=True)
    disk.erofs(tools, "/build/root.erofs", "/build/root", epoch)
    disk.ext4(tools, "/build/data.ext4", recipe.data_mib, epoch)
    parts = disk.layout(
        recipe, *(place / name for name in ("config.vfat", "boot.vfat", "root.erofs", "data.ext4"))
    )
    disk.assemble(tools, "/build/disk.img", parts, hybrid=kind == "rpi")
    return _keep(place, work / kind)


def _unified_kernel(tools: Path, tree: Path, epoch: int) -> list[tuple[str, str]]:
    """One EFI program of kernel, initrd and command line; which slot it serves is told by where it lies."""
    kernel, initrd = _kernel(tree)
    inside(
        tools, "ukify", "build", f"--linux={kernel}", f"--initrd={initrd}",
        f"--cmdline={COMMAND_LINE} console=ttyS0,115200", "--os-release=@/build/root/usr/lib/os-release",
        f"--uname={kernel.partition('vmlinuz-')[2]}", "--output=/build/BOOTX64.EFI",
        environment={"SOURCE_DATE_EPOCH": str(epoch)},
    )  # fmt: skip
    return [("EFI/BOOT/BOOTX64.EFI", "/build/BOOTX64.EFI")]


def _pi_files(tools: Path, tree: Path) -> list[tuple[str, str]]:
    """What a Pi's firmware starts, all in one partition, so that a slot's firmware, kernel and root belong together."""
    kernel, initrd = _kernel(tree)
    firmware = tree / "usr/lib/raspi-firmware"
    trees = tree / f"usr/lib/modules/{kernel.partition('vmlinuz-')[2]}/dtb/broadcom"
    make_overlay(tools, trees)
    (tree / "boot/cmdline.txt").write_text(f"{COMMAND_LINE} console=serial0,115200\n")
    shutil.copyfile(HERE / "pi/config.txt", tree / "boot/config.txt")
    files = {"kernel8.img": kernel, "initrd.img": initrd, f"overlays/{OVERLAY}": f"/build/{OVERLAY}"}
    files |= {name: f"/build/root/boot/{name}" for name in ("cmdline.txt", "config.txt")}
    found = [path for path in firmware.iterdir() if path.suffix in {".bin", ".elf", ".dat"}]
    found += [path for chip in ("2711", "2712", "2837") for path in trees.glob(f"bcm{chip}-*.dtb")]
    files |= {path.name: f"/build/root/{path.relative_to(tree)}" for path in found}
    return sorted(files.items())


def _pi_first_files(tree: Path) -> list[tuple[str, str]]:
    """Where the firmware begins: which slot it starts, and, for a Pi 3, the loader that its boot ROM looks for."""
    shutil.copyfile(HERE / "pi/autoboot.txt", tree / "boot/autoboot.txt")
    shutil.copyfile(tree / "usr/lib/raspi-firmware/bootcode.bin", tree / "boot/bootcode.bin")
    return [(name, f"/build/root/boot/{name}") for name in ("autoboot.txt", "bootcode.bin")]


def _kernel(tree: Path) -> tuple[str, str]:
    """Kernel and initrd, as the tools' root sees them."""
    (kernel,), (initrd,) = (list((tree / "boot").glob(name)) for name in ("vmlinuz-*", "initrd.img-*"))
    return f"/build/root/boot/{kernel.name}", f"/build/root/boot/{initrd.name}"


def _keep(place: Path, kept: Path) -> Image:
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir()
    for name in ("disk.img", "boot.vfat", "root.erofs", "root"):
        (place / name).rename(kept / name)
    return Image(*(kept / name for name in ("disk.img", "boot.vfat", "root.erofs", "root")))

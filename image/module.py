"""Our kernel module for a Pi (image/pi/tryboot), compiled for the very kernel of its root, and nothing left of that."""

import shutil
from pathlib import Path

from image.packages import HERE, fetch, lock_file, read_lock
from image.tools import inside, run

# Beside the kernel's own modules, where depmod looks first (depmod.d(5)).
MODULES = "updates"


def put_module(epoch: int, base: Path, work: Path, root: Path) -> None:
    """Put the module into a root. Compiled in a copy of `base`, to which headers and compiler are added.

    These are only unpacked: nothing of a compiler has to be set up, and what sets it up would be emulated.
    """
    (kernel,) = (root / "usr/lib/modules").iterdir()
    bench = work / "bench"
    shutil.rmtree(bench, ignore_errors=True)
    run("cp", "-a", base, bench)
    for package in fetch(read_lock(lock_file("headers")), work / "debs"):
        run("dpkg-deb", "--extract", package, bench)
    shutil.copytree(HERE / "pi/tryboot", bench / "tryboot")
    inside(
        bench, "make", f"--directory=/usr/src/linux-headers-{kernel.name}", "M=/tryboot",
        # Types for tracers, which the image has none of; to gather them takes the whole kernel's.
        "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules",
        environment={"SOURCE_DATE_EPOCH": str(epoch)},
    )  # fmt: skip
    target = kernel / MODULES / "storebox_tryboot.ko"
    target.parent.mkdir(exist_ok=True)
    inside(bench, "aarch64-linux-gnu-strip", "--strip-debug", f"/tryboot/{target.name}")
    shutil.copyfile(bench / "tryboot" / target.name, target)
    shutil.rmtree(bench)

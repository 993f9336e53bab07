"""`python -m campaigns.units`: install the box on a Debian 13 whose systemd really runs, and see what its units do.

Needs root, mmdebstrap, and (for the first run) Debian's archive. Exit codes: 0 all is as it should be, 1 something is
not, 2 misuse.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.processes import Failed, call, python
from campaigns.units.box import Box
from campaigns.units.machine import HERE, make_root, open_machine
from campaigns.units.scenarios import all_of

REPOSITORY = HERE.parents[1]
# The Python of Debian 13, and what it takes.
PLATFORMS = (
    "manylinux_2_34",
    "manylinux_2_28",
    "manylinux_2_17",
    "manylinux2014",
    "manylinux_2_12",
    "manylinux1",
)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m campaigns.units", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--keep",
        type=Path,
        default=Path(".storebox-units"),
        metavar="DIR",
        help="root and wheels are kept here",
    )
    options = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("needs root: it makes namespaces and mounts")
    sys.exit(_campaign(options.keep.absolute()))


def _campaign(keep: Path) -> int:
    root, wheels = keep / "root", keep / "wheels"
    make_root(root)
    _fetch(wheels)
    failures = 0
    with tempfile.TemporaryDirectory(prefix="run-", dir=keep) as made:
        work = Path(made)
        pip = python("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation")
        call([*pip, "--wheel-dir", str(work / "wheel"), str(REPOSITORY)])
        (wheel,) = (work / "wheel").iterdir()
        with open_machine(root, work) as machine:
            machine.power_on()
            for scenario in all_of(Box(machine, wheel, wheels, work)):
                name = scenario.__name__.replace("_", " ")
                try:
                    print(f"ok      {name}: {scenario()}", flush=True)
                except (Failed, OSError, subprocess.SubprocessError, ValueError, LookupError) as failure:
                    failures += 1
                    print(f"FAILED  {name}: {failure}", flush=True)
    return 1 if failures else 0


def _fetch(wheels: Path) -> None:
    """The dependencies of a box, by their hashes, for the machine's Python."""
    if wheels.exists():
        return
    platforms = [f"--platform={name}_{os.uname().machine}" for name in PLATFORMS]
    beside = wheels.with_name(wheels.name + ".new")
    command = python(
        "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:"
    )
    command += ["--python-version=3.13", "--implementation=cp", "--abi=cp313", "--abi=abi3", "--abi=none"]
    call(
        [
            *command,
            *platforms,
            "--dest",
            str(beside),
            "--requirement",
            str(REPOSITORY / "requirements/box.txt"),
        ]
    )
    beside.rename(wheels)


if __name__ == "__main__":
    main()

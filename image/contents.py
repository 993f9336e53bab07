"""What is in a made tree: Debian's packages, Python's distributions and storebox, with licences and sizes."""

import re
from collections.abc import Iterable
from email import message_from_string
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import Literal, NamedTuple

from debian.deb822 import Deb822

from image import licences
from image.module import MODULES
from image.program import SITE
from image.tools import Failed

DPKG = "var/lib/dpkg"
# Its time is the build's: systemd's floor for a clock without a battery.
CLOCK = "usr/lib/clock-epoch"
OURS = "storebox"
_SOURCE = re.compile(r"(?P<name>\S+)(?: \((?P<version>\S+)\))?")


class Part(NamedTuple):
    """One thing that somebody made and that is in the image. Sizes are in bytes."""

    kind: Literal["deb", "pypi", "storebox"]
    name: str
    version: str
    architecture: str
    # SPDX identifiers and expressions, or what its author calls them where that is none.
    licences: tuple[str, ...]
    # Paths in the image.
    texts: tuple[str, ...]
    size: int
    # What its own metadata claim; 0 where they claim nothing.
    claimed: int = 0
    # Debian: the source package that it was built from; Debian's security notices name these.
    source: str = ""
    # Python: lists of what is linked into it (PEP 770).
    inner: tuple[Path, ...] = ()


class Contents(NamedTuple):
    """A tree, read."""

    kind: str
    version: str
    system: str
    system_version: str
    # Seconds since 1970.
    epoch: int
    parts: list[Part]
    # Bytes in files that belong to none of them.
    rest: int


def read_contents(tree: Path) -> Contents:
    """Everything in a tree, sorted. Raises Failed for what is no tree of an image. Blocks."""
    try:
        release = dict(_assignments((tree / "usr/lib/os-release").read_text()))
        epoch = int((tree / CLOCK).stat().st_mtime)
        with (tree / DPKG / "status").open(encoding="utf-8") as status:
            packages = list(Deb822.iter_paragraphs(status, use_apt_pkg=False))
    except OSError as error:
        raise Failed(f"{error.filename}: {error.strerror}: this is no tree of an image") from error
    if (missing := {"IMAGE_VERSION", "VARIANT_ID", "ID", "VERSION_ID"} - release.keys()) != set():
        raise Failed(f"{tree}: its os-release does not say {', '.join(sorted(missing))}")
    counted = set[int]()
    parts = [
        _debian(tree, package, counted) for package in packages if "installed" in package["Status"].split()
    ]
    parts += [_python(tree, folder, counted) for folder in sorted((tree / SITE).glob("*.dist-info"))]
    parts += [
        _module(path, release["IMAGE_VERSION"], counted)
        for path in sorted(tree.glob(f"usr/lib/modules/*/{MODULES}/*.ko"))
    ]
    rest = sum(_size(path, counted) for path in tree.rglob("*"))
    return Contents(
        release["VARIANT_ID"], release["IMAGE_VERSION"], release["ID"], release["VERSION_ID"],
        epoch, sorted(parts), rest,
    )  # fmt: skip


def _debian(tree: Path, package: Deb822, counted: set[int]) -> Part:
    name, version = package["Package"], package["Version"]
    info = tree / DPKG / "info"
    listed = next(
        (
            path
            for stem in (name, f"{name}:{package['Architecture']}")
            if (path := info / f"{stem}.list").exists()
        ),
        None,
    )
    if listed is None:
        raise Failed(f"{name}: dpkg has no list of its files")
    size = _sizes((tree / path.lstrip("/") for path in listed.read_text().splitlines()), tree, counted)
    place = f"usr/share/doc/{name}/copyright"
    text = _within(tree, place)
    source = _SOURCE.fullmatch(package.get("Source", name))
    return Part(
        "deb", name, version, package["Architecture"],
        licences.of_copyright_file(text) if text else (), (f"/{place}",) if text else (),
        size, int(package.get("Installed-Size", 0)) * 1024, source["name"] if source else name,
    )  # fmt: skip


def _python(tree: Path, folder: Path, counted: set[int]) -> Part:
    distribution = PathDistribution(folder)
    name, version = distribution.name, distribution.version
    size = _sizes((folder.parent / file for file in distribution.files or ()), tree, counted)
    texts = sorted(path for path in (folder / "licenses").rglob("*") if path.is_file())
    return Part(
        "storebox" if name == OURS else "pypi", name, version, "",
        licences.of_metadata(message_from_string(distribution.read_text("METADATA") or "")),
        tuple(f"/{path.relative_to(tree)}" for path in texts), size,
        inner=tuple(sorted((folder / "sboms").glob("*.json"))),
    )  # fmt: skip


def _module(path: Path, version: str, counted: set[int]) -> Part:
    """A kernel module of ours (image/pi/tryboot); the kernel's own come with Debian's package."""
    return Part(
        "storebox", path.stem, version, "", ("GPL-2.0-only",), ("/usr/share/common-licenses/GPL-2",),
        _size(path, counted),
    )  # fmt: skip


def _sizes(paths: Iterable[Path], tree: Path, counted: set[int]) -> int:
    """What these files hold, with the byte code that was made of them; each file is counted for one owner."""
    total, home = 0, tree.resolve()
    for path in paths:
        if not path.parent.resolve().is_relative_to(home):
            continue
        total += _size(path, counted)
        if path.suffix == ".py":
            compiled = (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc")
            total += sum(_size(code, counted) for code in compiled)
    return total


def _size(path: Path, counted: set[int]) -> int:
    if path.is_symlink() or not path.is_file():
        return 0
    told = path.stat()
    if told.st_ino in counted:
        return 0
    counted.add(told.st_ino)
    return told.st_size


def _within(tree: Path, place: str) -> Path | None:
    """The file at a place in the tree; None when there is none, or a link leads out of it."""
    found = (tree / place).resolve()
    return found if found.is_file() and found.is_relative_to(tree.resolve()) else None


def _assignments(text: str) -> Iterable[tuple[str, str]]:
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            yield key, value.strip('"')

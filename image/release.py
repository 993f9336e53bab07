"""What is given away: the packed image, what it is made of, checksums, and a signature over these."""

import hashlib
import shutil
from pathlib import Path

import zstandard

from image.build import Image
from image.contents import Contents, Part, read_contents
from image.packages import lock_file, read_lock
from image.recipe import RECIPES, Kind
from image.sbom import make_sbom
from image.tools import Failed, run

MB = 1_000_000
PACKED_MAX = 450 * MB
# Of a disk with 205 MB of data, most of it packed already, level 3 makes 170.1 MB, 9 makes 167.1 and 12 makes 166.2.
LEVEL = 9
# 128 MiB: the most that every unpacker takes without being asked to.
WINDOW_LOG = 27
LARGEST_TOLD = 25


def release(kind: Kind, made: Image, key: Path, to: Path, packed_max: int = PACKED_MAX) -> None:
    """Put everything into the folder `to`, made anew, and print what is in it. `key`: PEM, Ed25519.

    Raises Failed, and signs nothing, when the packed image is too large. Blocks.
    """
    contents = read_contents(made.tree)
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    name = f"storebox-{contents.version}-{kind}"
    sbom = make_sbom(contents, read_lock(lock_file(RECIPES[kind].architecture)))
    (to / f"{name}.cdx.json").write_text(sbom)
    (to / f"{name}.licences.txt").write_text(licences_text(contents))
    packed = to / f"{name}.img.zst"
    pack(made.disk, packed)
    size = packed.stat().st_size
    if size > packed_max:
        raise Failed(f"{packed.name} has {size / MB:.1f} MB, the limit is {packed_max / MB:.1f}")
    sums = "".join(f"{_sha256(path)}  {path.name}\n" for path in sorted(to.iterdir()))
    (to / "SHA256SUMS").write_text(sums)
    # One signature over the sums covers all: openssl pkeyutl -verify -rawin checks it with the public key.
    run(
        "openssl", "pkeyutl", "-sign", "-rawin", "-inkey", key,
        "-in", to / "SHA256SUMS", "-out", to / "SHA256SUMS.sig",
    )  # fmt: skip
    run("openssl", "pkey", "-in", key, "-pubout", "-out", to / "release-key.pub.pem")
    print(sizes_text(contents, LARGEST_TOLD))
    print(f"{made.root.stat().st_size / MB:8.1f} MB  root, as the box reads it")
    print(f"{size / MB:8.1f} MB  {packed.name}\n\n{sums}", end="")


def pack(disk: Path, packed: Path) -> None:
    """Pack a disk; the same bytes on every machine, since the library that packs is locked. Blocks."""
    size = disk.stat().st_size
    # How the input is cut for the threads shows in the output, how many of them there are does not.
    settings = zstandard.ZstdCompressionParameters.from_level(
        LEVEL, source_size=size, window_log=WINDOW_LOG, enable_ldm=True, threads=2,
        write_checksum=True, write_content_size=True,
    )  # fmt: skip
    with disk.open("rb") as source, packed.open("wb") as target:
        zstandard.ZstdCompressor(compression_params=settings).copy_stream(source, target, size=size)


def licences_text(contents: Contents) -> str:
    """All parts with their licences and where in the image the texts stand, for people."""
    lines = [
        f"Licences in storebox-{contents.kind} {contents.version}",
        "",
        "For each part: what it says of itself, by SPDX's identifiers where they fit, and the files of the image that",
        "hold copyright notices and texts. A part has one line for each licence that anything in its source has.",
        "The texts that Debian's files refer to stand in /usr/share/common-licenses.",
        "Source code of Debian's packages: by name and version in Debian's archive.",
    ]
    for part in contents.parts:
        lines += ["", f"{part.name} {part.version} ({_WHENCE[part.kind]})"]
        lines += [
            f"    {licence}" for licence in part.licences or (_UNTOLD if part.texts else "nothing is said",)
        ]
        lines += [f"    -> {path}" for path in part.texts]
    return "\n".join(lines) + "\n"


_UNTOLD = "in the text only:"
_WHENCE = {"deb": "Debian", "pypi": "Python", "storebox": "this project"}


def sizes_text(contents: Contents, most: int | None = None) -> str:
    """A table of the parts, largest first; `most`: only so many. In kB, unpacked."""
    parts = sorted(contents.parts, key=lambda part: (-part.size, part.name))
    shown = parts[:most]
    rows = [f"{'kB':>9} {'claimed':>9}  part"]
    rows += [_row(part) for part in shown]
    if len(shown) < len(parts):
        rows.append(
            f"{_kb(sum(part.size for part in parts[most:])):>9} {'':>9}  {len(parts) - len(shown)} others"
        )
    rows.append(
        f"{_kb(contents.rest):>9} {'':>9}  files of no package (made by the build, and this project's own)"
    )
    rows.append(f"{_kb(sum(part.size for part in parts) + contents.rest):>9} {'':>9}  all")
    return "\n".join(rows) + "\n"


def _row(part: Part) -> str:
    claimed = _kb(part.claimed) if part.claimed else "-"
    return f"{_kb(part.size):>9} {claimed:>9}  {part.name} {part.version}"


def _kb(size: int) -> str:
    return f"{size / 1000:,.0f}"


def development_key(work: Path) -> Path:
    """A key for images that nobody trusts: made once, kept out of git."""
    key = work / "development-key.pem"
    if not key.exists():
        run("openssl", "genpkey", "-algorithm", "ed25519", "-out", key)
        key.chmod(0o600)
    return key


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

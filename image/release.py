"""What is given away: the packed image, its bill and licences, checksums, and a signature over these."""

import hashlib
import shutil
from datetime import UTC, datetime
from pathlib import Path

from image.bill import components, cyclonedx, largest, licences
from image.build import Image
from image.packages import lock_file, read_lock
from image.recipe import RECIPES, Kind
from image.tools import Failed, run

PACKED_MAX = 450 * 1024 * 1024
LARGEST_TOLD = 15


def release(kind: Kind, version: str, epoch: int, made: Image, key: Path, to: Path) -> None:
    """Put everything into the folder `to`, and print what is in it. `key`: PEM, Ed25519."""
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    name = f"storebox-{version}-{kind}"
    packed = to / f"{name}.img.zst"
    run("zstd", "--quiet", "-9", "-T2", "--long=27", made.disk, "-o", packed)
    found = components(made.tree, read_lock(lock_file(RECIPES[kind].architecture)))
    when = datetime.fromtimestamp(epoch, UTC).isoformat()
    (to / f"{name}.cdx.json").write_bytes(cyclonedx(version, kind, when, found))
    (to / f"{name}.licences.tsv").write_text(licences(found))
    sums = "".join(f"{_sha256(path)}  {path.name}\n" for path in sorted(to.iterdir()))
    (to / "SHA256SUMS").write_text(sums)
    # One signature over the sums covers all: openssl pkeyutl -verify -rawin checks it with the public key.
    run(
        "openssl",
        "pkeyutl",
        "-sign",
        "-rawin",
        "-inkey",
        key,
        "-in",
        to / "SHA256SUMS",
        "-out",
        to / "SHA256SUMS.sig",
    )
    run("openssl", "pkey", "-in", key, "-pubout", "-out", to / "release-key.pub.pem")
    print(largest(found, LARGEST_TOLD), end="")
    print(f"{sum(one.kib for one in found) / 1024:8.1f} MiB  all {len(found)} components, unpacked")
    print(f"{made.root.stat().st_size / 2**20:8.1f} MiB  root, as the box reads it")
    print(f"{packed.stat().st_size / 2**20:8.1f} MiB  {packed.name}\n\n{sums}", end="")
    if packed.stat().st_size > PACKED_MAX:
        raise Failed(f"{packed.name} has more than {PACKED_MAX // 2**20} MiB")


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

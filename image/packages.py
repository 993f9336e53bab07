"""Debian packages by hash: the lock files, and the packages they name.

A lock is a list that `sha256sum --check` understands: a SHA-256 and a path below a mirror. It names no host.
"""

import hashlib
import os
import re
import urllib.parse
import urllib.request
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from image.tools import Failed, run

HERE = Path(__file__).parent
SUITE = "trixie"
COMPONENTS = "main non-free-firmware"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_LINE = re.compile(r"([0-9a-f]{64})  ((?:debian|debian-security)/pool/[!-~]+\.deb)")
_URI = re.compile(r"'(?P<uri>[^']+)' \S+ \d+ SHA256:(?P<sha256>[0-9a-f]{64})")


class Package(NamedTuple):
    """One line of a lock."""

    sha256: str
    path: str

    @property
    def file(self) -> str:
        """As Debian names it: name, version without epoch, architecture."""
        return self.path.rpartition("/")[2]

    @property
    def name(self) -> str:
        """Without version."""
        return self.file.partition("_")[0]


def lock_file(name: str) -> Path:
    """Where the lock of an architecture, or of the build's tools, stands."""
    return HERE / f"packages.{name}.lock"


def read_lock(path: Path) -> list[Package]:
    """What a lock names. Raises Failed for a line that is none."""
    packages = list[Package]()
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if (found := _LINE.fullmatch(line)) is None:
            raise Failed(f"{path}, line {number}: not a SHA-256 and a path below a mirror")
        packages.append(Package(*found.groups()))
    return packages


def mirrors() -> dict[str, str]:
    """The mirrors of `debian` and `debian-security`: $STOREBOX_MIRROR/debian…, or those of this machine's own apt."""
    if base := os.environ.get("STOREBOX_MIRROR"):
        return {archive: f"{base.rstrip('/')}/{archive}/" for archive in ("debian", "debian-security")}
    found = dict[str, str]()
    listed = run("apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages")
    for label, _, uri in (line.partition(" ") for line in listed.decode().splitlines()):
        if label in {"Debian", "Debian-Security"}:
            found.setdefault(label.lower(), uri)
    if len(found) < 2:
        raise Failed("this machine's apt knows no mirror of Debian: set STOREBOX_MIRROR")
    return found


def resolve(
    architecture: str, names: Iterable[str], work: Path, backports: Iterable[str] = ()
) -> list[Package]:
    """What these packages and all they need are today, by apt's own choice, for an empty system; sorted.

    Of Debian's backports only what `backports` names is chosen, and what that needs in a version that is only there.
    Signatures of the archive are checked by apt.
    """
    uris = mirrors()
    lines = [
        f"deb [signed-by={KEYRING}] {uris[archive]} {suite} {COMPONENTS}"
        for archive, suite in (
            ("debian", SUITE),
            ("debian", f"{SUITE}-updates"),
            ("debian", f"{SUITE}-backports"),
            ("debian-security", f"{SUITE}-security"),
        )
    ]
    for folder in ("lists/partial", "cache/archives/partial"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    (work / "sources.list").write_text("\n".join(lines) + "\n")
    # apt takes nothing of backports by itself (apt_preferences(5), NotAutomatic).
    chosen = (f"Package: {name}\nPin: release n={SUITE}-backports\nPin-Priority: 990\n" for name in backports)
    (work / "preferences").write_text("\n".join(chosen))
    (work / "apt.conf").write_text(
        f'Dir::State::lists "{work}/lists/";\nDir::Cache "{work}/cache/";\nDir::State::status "/dev/null";\n'
        f'Dir::Etc::sourcelist "{work}/sources.list";\nDir::Etc::sourceparts "/dev/null";\n'
        f'Dir::Etc::preferencesparts "/dev/null";\nDir::Etc::preferences "{work}/preferences";\n'
        f'APT::Architecture "{architecture}";\nAPT::Architectures "{architecture}";\n'
        'APT::Install-Recommends "false";\nAcquire::Languages "none";\nAcquire::ForceHash "SHA256";\n'
    )
    settings = {"APT_CONFIG": str(work / "apt.conf")}
    run("apt-get", "update", environment=settings)
    # mmdebstrap installs apt itself with the essential ones.
    answer = run(
        "apt-get", "install", "-qq", "--print-uris", "?essential", "apt", *names, environment=settings
    )
    packages = list[Package]()
    for found in _URI.finditer(answer.decode()):
        uri = urllib.parse.unquote(found["uri"])
        for archive, base in uris.items():
            if uri.startswith(f"{base}pool/"):
                packages.append(Package(found["sha256"], f"{archive}/{uri.removeprefix(base)}"))
    return sorted(packages, key=lambda package: package.path)


def fetch(packages: Iterable[Package], cache: Path) -> list[Path]:
    """The packages' files, each with the hash that the lock says, from the cache or a mirror. Raises Failed."""
    cache.mkdir(parents=True, exist_ok=True)
    uris = mirrors()

    def one(package: Package) -> Path:
        path = cache / package.file
        if path.exists() and _sha256(path.read_bytes()) == package.sha256:
            return path
        archive, _, place = package.path.partition("/")
        try:
            with urllib.request.urlopen(uris[archive] + urllib.parse.quote(place), timeout=60) as answer:  # noqa: S310  apt's own mirrors
                content = answer.read()
        except OSError as error:
            raise Failed(
                f"{package.path}: {error}; a mirror forgets old versions: `make image-lock`, or set STOREBOX_MIRROR "
                "to one that keeps them"
            ) from error
        if _sha256(content) != package.sha256:
            raise Failed(f"{package.path} is not what the lock says")
        part = path.with_suffix(".part")
        part.write_bytes(content)
        part.rename(path)
        return path

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(one, packages))


def make_archive(files: Iterable[Path], folder: Path) -> None:
    """A folder that apt can install from, with these packages and no others."""
    folder.mkdir(parents=True)
    for file in files:
        os.link(file, folder / file.name)
    (folder / "Packages").write_bytes(run("dpkg-scanpackages", "--multiversion", ".", folder=folder))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

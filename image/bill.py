"""What is in an image: a bill of materials (CycloneDX 1.6), its licences, and where the room goes."""

import json
import re
import uuid
from email.parser import HeaderParser
from pathlib import Path
from typing import Any, NamedTuple

from image.packages import Package
from image.program import SITE

# Debian's machine-readable copyright files (DEP-5) name licences in these lines; others are told as they are: not so.
_LICENCE = re.compile(r"^License:[ \t]*(\S.*)$", re.MULTILINE)
UNKNOWN = "see the copyright file"


class Component(NamedTuple):
    """One thing that somebody else (or we) made."""

    name: str
    version: str
    purl: str
    licence: str
    sha256: str
    kib: int


def components(root: Path, locked: list[Package]) -> list[Component]:
    """Everything in a root, Debian's packages first, sorted by name."""
    by_name = {package.name: package for package in locked}
    return sorted(_debian(root, by_name)) + sorted(_python(root))


def cyclonedx(version: str, kind: str, epoch_text: str, found: list[Component]) -> bytes:
    """The bill, the same bytes for the same image."""
    listed: list[dict[str, Any]] = [
        {
            "type": "library",
            "bom-ref": one.purl,
            "name": one.name,
            "version": one.version,
            "purl": one.purl,
            "licenses": [{"license": {"name": one.licence}}],
            **({"hashes": [{"alg": "SHA-256", "content": one.sha256}]} if one.sha256 else {}),
        }
        for one in found
    ]
    names = "\n".join(one.purl for one in found)
    return json.dumps(
        {
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{kind} {version} {names}')}",
            "version": 1,
            "metadata": {
                "timestamp": epoch_text,
                "component": {"type": "operating-system", "name": f"storebox-{kind}", "version": version},
            },
            "components": listed,
        },
        indent=1,
    ).encode()


def licences(found: list[Component]) -> str:
    """One line a component: name, version, licence."""
    return "".join(f"{one.name}\t{one.version}\t{one.licence}\n" for one in found)


def largest(found: list[Component], count: int) -> str:
    """Where the room goes, before compression."""
    first = sorted(found, key=lambda one: -one.kib)[:count]
    return "".join(f"{one.kib / 1024:8.1f} MiB  {one.name}\n" for one in first)


def _debian(root: Path, locked: dict[str, Package]) -> list[Component]:
    found = list[Component]()
    parse = HeaderParser().parsestr
    for text in (root / "var/lib/dpkg/status").read_text().strip().split("\n\n"):
        fields = parse(text)
        name, version, architecture = fields["Package"], fields["Version"], fields["Architecture"]
        copyright_file = root / f"usr/share/doc/{name}/copyright"
        named = (
            _LICENCE.findall(copyright_file.read_text(errors="replace")) if copyright_file.is_file() else []
        )
        purl = f"pkg:deb/debian/{name}@{version.replace(':', '%3A')}?arch={architecture}&distro=trixie"
        sha256 = locked[name].sha256 if name in locked else ""
        licence = " AND ".join(sorted(set(named))) or UNKNOWN
        found.append(Component(name, version, purl, licence, sha256, int(fields["Installed-Size"] or 0)))
    return found


def _python(root: Path) -> list[Component]:
    found = list[Component]()
    for folder in (root / SITE).glob("*.dist-info"):
        fields = HeaderParser().parsestr((folder / "METADATA").read_text())
        name, version = fields["Name"], fields["Version"]
        licence = (
            fields["License-Expression"] or _classified(fields.get_all("Classifier", [])) or fields["License"]
        )
        files = (root / SITE / line.split(",")[0] for line in (folder / "RECORD").read_text().splitlines())
        kib = sum(file.stat().st_size for file in files if file.is_file()) // 1024
        found.append(
            Component(name, version, f"pkg:pypi/{name.lower()}@{version}", licence or UNKNOWN, "", kib)
        )
    return found


def _classified(classifiers: list[str]) -> str:
    return " AND ".join(
        text.rpartition(" :: ")[2] for text in classifiers if text.startswith("License :: OSI Approved :: ")
    )

"""The list of what an image is made of, in CycloneDX 1.6 (ECMA-424): the same bytes for the same tree and lock."""

import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense, License, LicenseExpression
from cyclonedx.model.lifecycle import LifecyclePhase, PredefinedLifecycle
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.spdx import is_expression, is_supported_id
from packageurl import PackageURL

from image.contents import Contents, Part
from image.packages import Package
from image.tools import Failed

# UUIDv5 (RFC 9562, 5.5) of the list's own SHA-256 in this space: another content has another number.
SPACE = uuid.UUID("53746f72-6562-6f78-8000-00005b0300e0")
TEXT = "storebox:licence-text"


def make_sbom(contents: Contents, lock: Iterable[Package]) -> str:
    """The list as JSON. Raises Failed for a Debian package that is not the lock's."""
    hashes = {package.file: package.sha256 for package in lock}
    bom = Bom(serial_number=uuid.UUID(int=0))
    bom.metadata.timestamp = datetime.fromtimestamp(contents.epoch, UTC)
    bom.metadata.lifecycles = [PredefinedLifecycle(LifecyclePhase.BUILD)]
    whole = Component(
        type=ComponentType.FIRMWARE,
        name=f"storebox-{contents.kind}",
        version=contents.version,
        bom_ref=f"storebox-{contents.kind}@{contents.version}",
    )
    bom.metadata.component = whole
    # Scanners choose their list of known faults by this one.
    system = Component(
        type=ComponentType.OPERATING_SYSTEM,
        name=contents.system,
        version=contents.system_version,
        bom_ref=f"{contents.system}@{contents.system_version}",
    )
    parts = [system, *(_component(part, contents, hashes) for part in contents.parts)]
    bom.components = parts
    bom.register_dependency(whole, parts)
    without = JsonV1Dot6(bom).output_as_string()
    bom.serial_number = uuid.uuid5(SPACE, hashlib.sha256(without.encode()).hexdigest())
    return JsonV1Dot6(bom).output_as_string(indent=1) + "\n"


def _component(part: Part, contents: Contents, hashes: dict[str, str]) -> Component:
    purl = _purl(part, contents)
    return Component(
        type=ComponentType.APPLICATION if part.kind == "storebox" else ComponentType.LIBRARY,
        name=part.name,
        version=part.version,
        bom_ref=purl.to_string(),
        purl=purl,
        licenses=_licences(part.licences),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=_hash(part, hashes))]
        if part.kind == "deb"
        else None,
        properties=[Property(name=TEXT, value=path) for path in part.texts],
        components=[inner for path in part.inner for inner in _inner(path, purl)],
    )


def _purl(part: Part, contents: Contents) -> PackageURL:
    """Package URL (ECMA-427). storebox is in no public registry, so a name there would be somebody else's."""
    if part.kind != "deb":
        return PackageURL("generic" if part.kind == "storebox" else "pypi", None, part.name, part.version)
    told = {"arch": part.architecture, "distro": f"{contents.system}-{contents.system_version}"}
    if part.source != part.name:
        told["upstream"] = part.source
    return PackageURL("deb", contents.system, part.name, part.version, told)


def _hash(part: Part, hashes: dict[str, str]) -> str:
    # Debian leaves the epoch out of a file's name.
    file = f"{part.name}_{part.version.partition(':')[2] or part.version}_{part.architecture}.deb"
    if file not in hashes:
        raise Failed(f"{file} is in the tree but not in its lock: build the image anew")
    return hashes[file]


def _licences(said: tuple[str, ...]) -> Iterator[License]:
    """One expression stands alone (the format's rule); of several, one that SPDX has no identifier for is a name."""
    for name in said:
        if is_supported_id(name):
            yield DisjunctiveLicense(id=name)
        elif len(said) == 1 and is_expression(name):
            yield LicenseExpression(name)
        else:
            yield DisjunctiveLicense(name=name)


def _inner(path: Path, outer: PackageURL) -> Iterator[Component]:
    """What a Python distribution itself lists as linked into it, such as OpenSSL; its file names lead nowhere here."""
    try:
        listed = Bom.from_json(json.loads(path.read_bytes()))  # type: ignore[attr-defined]  # a decorator adds it
    except (ValueError, KeyError, TypeError) as error:
        raise Failed(f"{path}: no CycloneDX list: {error}") from error
    for found in listed.components:
        yield Component(
            type=found.type,
            name=found.name,
            version=found.version,
            bom_ref=f"{outer.to_string()}#{path.name}:{found.name}@{found.version}",
            purl=found.purl,
            licenses=found.licenses,
            hashes=found.hashes,
        )

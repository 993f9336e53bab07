"""The list of an image's parts: complete, valid by the format's own schema, the same for the same tree."""

import json
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from image.contents import read_contents
from image.packages import Package
from image.sbom import make_sbom
from image.tools import Failed
from tests.unit.image.conftest import put

LIBC = "pkg:deb/debian/libc6@2.41-12%2Bb1?arch=amd64&distro=debian-13&upstream=glibc"
SSHD = "pkg:deb/debian/openssh-server@1:10.0p1-7%2Bdeb13u4?arch=amd64&distro=debian-13&upstream=openssh"


@pytest.fixture
def sbom(tree: Path, lock: list[Package]) -> str:
    """The list of the small tree."""
    return make_sbom(read_contents(tree), lock)


def by_name(sbom: str) -> dict[str, dict[str, Any]]:
    return {component["name"]: component for component in json.loads(sbom)["components"]}


def test_it_is_valid_cyclonedx(sbom: str) -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(sbom) is None

    broken = json.loads(sbom)
    del broken["components"][0]["name"]
    assert validator.validate_str(json.dumps(broken)) is not None


def test_each_package_and_distribution_is_named_so_that_scanners_find_it(sbom: str) -> None:
    named = {name: (part.get("purl"), part["version"], part["type"]) for name, part in by_name(sbom).items()}

    assert named == {
        "adduser": ("pkg:deb/debian/adduser@3.152?arch=all&distro=debian-13", "3.152", "library"),
        "libc6": (LIBC, "2.41-12+b1", "library"),
        "openssh-server": (SSHD, "1:10.0p1-7+deb13u4", "library"),
        "aiohttp_sse": ("pkg:pypi/aiohttp-sse@1.0", "1.0", "library"),
        "cryptography": ("pkg:pypi/cryptography@1.0", "1.0", "library"),
        "storebox": ("pkg:generic/storebox@1.0", "1.0", "application"),
        "debian": (None, "13", "operating-system"),
    }
    assert json.loads(sbom)["metadata"]["component"]["name"] == "storebox-amd64"


def test_a_package_has_the_hash_that_the_lock_says(sbom: str) -> None:
    hashes = {name: part["hashes"] for name, part in by_name(sbom).items() if "hashes" in part}

    assert hashes == {
        "adduser": [{"alg": "SHA-256", "content": "aa" * 32}],
        "openssh-server": [{"alg": "SHA-256", "content": "bb" * 32}],
        "libc6": [{"alg": "SHA-256", "content": "cc" * 32}],
    }


def test_a_package_that_is_not_the_locks_fails(tree: Path, lock: list[Package]) -> None:
    with pytest.raises(Failed, match=r"libc6_2\.41-12\+b1_amd64\.deb"):
        make_sbom(read_contents(tree), lock[:2])


def test_licences_are_spdx_where_they_can_be_and_texts_have_their_place(sbom: str) -> None:
    parts = by_name(sbom)

    assert parts["adduser"]["licenses"] == [
        {"license": {"id": "GPL-2.0-or-later"}},
        {"license": {"name": "GPL-1.0-or-later OR Artistic-1.0"}},
    ]
    assert parts["cryptography"]["licenses"] == [{"expression": "Apache-2.0 OR BSD-3-Clause"}]
    assert parts["aiohttp_sse"]["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert "licenses" not in parts["openssh-server"]
    assert parts["openssh-server"]["properties"] == [
        {"name": "storebox:licence-text", "value": "/usr/share/doc/openssh-server/copyright"}
    ]


def test_a_kernel_module_of_ours_is_listed_as_such(tree: Path, lock: list[Package]) -> None:
    put(tree, "usr/lib/modules/6.12/updates/storebox_tryboot.ko", "m" * 100)
    part = by_name(make_sbom(read_contents(tree), lock))["storebox_tryboot"]

    assert (part["purl"], part["version"]) == ("pkg:generic/storebox_tryboot@0.1.0", "0.1.0")
    assert part["licenses"] == [{"license": {"id": "GPL-2.0-only"}}]


def test_what_a_distribution_says_is_linked_into_it_is_listed_under_it(sbom: str) -> None:
    (inner,) = by_name(sbom)["cryptography"]["components"]

    assert (inner["name"], inner["version"], inner["purl"]) == (
        "openssl",
        "4.0.3",
        "pkg:generic/openssl@4.0.3",
    )
    assert inner["hashes"] == [{"alg": "SHA-256", "content": "32" * 32}]


def test_the_same_tree_gives_the_same_bytes_and_another_one_another_number(
    tmp_path: Path, tree: Path, lock: list[Package], sbom: str
) -> None:
    copy = tmp_path / "elsewhere/copy"
    shutil.copytree(tree, copy, symlinks=True)
    os.utime(copy / "usr/sbin/adduser", (1, 1))
    assert make_sbom(read_contents(copy), lock[::-1]) == sbom

    read = json.loads(sbom)
    assert uuid.UUID(read["serialNumber"].removeprefix("urn:uuid:")).version == 5
    assert read["metadata"]["timestamp"] == "2026-11-27T09:25:23+00:00"
    other = json.loads(make_sbom(read_contents(copy)._replace(version="0.1.1"), lock))
    assert other["serialNumber"] != read["serialNumber"]


def test_a_link_that_leads_out_of_the_tree_is_not_followed(tmp_path: Path, tree: Path) -> None:
    (tmp_path / "secret").write_text("Format: copyright-format\n\nFiles: *\nLicense: MIT\n")
    (tree / "usr/share/doc/adduser/copyright").unlink()
    (tree / "usr/share/doc/adduser/copyright").symlink_to(tmp_path / "secret")

    adduser = next(part for part in read_contents(tree).parts if part.name == "adduser")
    assert (adduser.licences, adduser.texts) == ((), ())


@pytest.mark.parametrize("gone", ["usr/lib/os-release", "usr/lib/clock-epoch", "var/lib/dpkg/status"])
def test_what_is_no_tree_of_an_image_fails(tree: Path, gone: str) -> None:
    (tree / gone).unlink()

    with pytest.raises(Failed, match=gone):
        read_contents(tree)

"""A small tree as a build leaves it: dpkg's database, copyright files, Python's distributions."""

import json
import os
from pathlib import Path

import pytest

from image.packages import Package

EPOCH = 1_795_771_523
SITE = "opt/storebox/lib/python3.13/site-packages"

STATUS = """\
Package: adduser
Status: install ok installed
Installed-Size: 428
Maintainer: Debian Adduser Developers <adduser@packages.debian.org>
Architecture: all
Version: 3.152
Description: add and remove users and groups
 This package includes the 'adduser' and 'deluser' commands.
 .
 And more.

Package: openssh-server
Status: install ok installed
Installed-Size: 3429
Architecture: amd64
Source: openssh
Version: 1:10.0p1-7+deb13u4

Package: libc6
Status: install ok installed
Installed-Size: 13
Architecture: amd64
Multi-Arch: same
Source: glibc (2.41-12)
Version: 2.41-12+b1

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1
"""

COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: adduser

Files: *
Copyright: 1995 Somebody
License: GPL-2+

Files: deluser
Copyright: 2000 Somebody else
License: GPL-1+ or Artistic

License: Expat
 The text of a licence that no file has.
"""

LISTED = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.5",
    "metadata": {"timestamp": "2026-09-29T23:03:51Z"},
    "components": [
        {
            "type": "library",
            "name": "openssl",
            "version": "4.0.3",
            "purl": "pkg:generic/openssl@4.0.3",
            "hashes": [{"alg": "SHA-256", "content": "32" * 32}],
        }
    ],
}


def put(tree: Path, path: str, content: str) -> None:
    """A file in a tree."""
    place = tree / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(content)


def put_distribution(tree: Path, name: str, metadata: str, files: str = "") -> None:
    """A Python distribution, version 1.0, as pip leaves it."""
    folder = f"{SITE}/{name}-1.0.dist-info"
    put(tree, f"{folder}/METADATA", f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{metadata}\n")
    put(tree, f"{folder}/RECORD", f"{folder.rpartition('/')[2]}/METADATA,,\n{files}")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The tree."""
    root = tmp_path / "root"
    put(root, "usr/lib/os-release", 'ID=debian\nVERSION_ID="13"\nIMAGE_VERSION=0.1.0\nVARIANT_ID=amd64\n')
    put(root, "usr/lib/clock-epoch", "")
    os.utime(root / "usr/lib/clock-epoch", (EPOCH, EPOCH))
    put(root, "var/lib/dpkg/status", STATUS)
    put(root, "usr/sbin/adduser", "a" * 1000)
    put(root, "usr/share/doc/adduser/copyright", COPYRIGHT)
    put(root, "var/lib/dpkg/info/adduser.list", "/.\n/usr\n/usr/sbin/adduser\n/usr/share/man/gone.8.gz\n")
    put(root, "usr/sbin/sshd", "s" * 3000)
    (root / "usr/sbin/sshd-too").hardlink_to(root / "usr/sbin/sshd")
    put(root, "var/lib/dpkg/info/openssh-server.list", "/usr/sbin/sshd\n/usr/sbin/sshd-too\n")
    put(root, "usr/share/doc/openssh-client/copyright", "This file is part of Debian's package of OpenSSH.\n")
    (root / "usr/share/doc/openssh-server").symlink_to("openssh-client")
    put(root, "usr/lib/libc.so.6", "c" * 2000)
    (root / "lib").symlink_to("usr/lib")
    put(root, "var/lib/dpkg/info/libc6:amd64.list", "/lib/libc.so.6\n")
    put_distribution(root, "aiohttp_sse", "License: Apache 2.0\n", "aiohttp_sse.py,,\n")
    put(root, f"{SITE}/aiohttp_sse.py", "p" * 400)
    put(root, f"{SITE}/__pycache__/aiohttp_sse.cpython-313.pyc", "q" * 500)
    put_distribution(root, "cryptography", "License-Expression: Apache-2.0 OR BSD-3-Clause\n")
    put(root, f"{SITE}/cryptography-1.0.dist-info/licenses/LICENSE", "Either.\n")
    put(root, f"{SITE}/cryptography-1.0.dist-info/sboms/sbom.json", json.dumps(LISTED))
    put_distribution(root, "storebox", "License-Expression: Apache-2.0\n")
    return root


@pytest.fixture
def lock() -> list[Package]:
    """The lock that the tree was made from."""
    return [
        Package("aa" * 32, "debian/pool/main/a/adduser/adduser_3.152_all.deb"),
        Package("bb" * 32, "debian/pool/main/o/openssh/openssh-server_10.0p1-7+deb13u4_amd64.deb"),
        Package("cc" * 32, "debian/pool/main/g/glibc/libc6_2.41-12+b1_amd64.deb"),
    ]

"""What is given out: packed the same every time, signed so that OpenSSL can tell, held to its size."""

import subprocess
from pathlib import Path

import pytest
import zstandard

from image import release
from image.build import Image
from image.contents import read_contents
from image.tools import Failed
from provisioning.cli import run
from tests.conftest import require

MIB = 1024 * 1024
SITE = "opt/storebox/lib/python3.13/site-packages"
NAME = "storebox-0.1.0-amd64"


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A disk that is mostly a hole."""
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.write(b"storebox" * 4096)
        file.truncate(8 * MIB)
    return path


@pytest.fixture
def made(tmp_path: Path, tree: Path, disk: Path) -> Image:
    """A build. The lock is the project's own: no package of Debian's, so none that it would not know."""
    require("openssl")
    (tree / "var/lib/dpkg/status").write_text("")
    return Image(disk, disk, disk, tree)


def test_all_of_it_is_there_and_the_same_when_it_is_made_again(
    tmp_path: Path, made: Image, disk: Path
) -> None:
    out, key = tmp_path / "out", release.development_key(tmp_path)
    release.release("amd64", made, key, out)
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    assert sorted(first) == [
        *("SHA256SUMS", "SHA256SUMS.sig", "release-key.pub.pem"),
        *(f"{NAME}.{kind}" for kind in ("cdx.json", "img.zst", "licences.txt")),
    ]
    assert zstandard.decompress(first[f"{NAME}.img.zst"]) == disk.read_bytes()

    (out / "left-over").write_text("of an earlier one")
    release.release("amd64", made, key, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first


def test_everybodys_tools_can_tell_what_was_signed_and_flash_takes_it(
    tmp_path: Path, made: Image, disk: Path
) -> None:
    require("openssl", "sha256sum")
    out, card = tmp_path / "out", tmp_path / "card"
    release.release("amd64", made, release.development_key(tmp_path), out)
    verify = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "release-key.pub.pem", "-rawin"]
    verify += ["-in", "SHA256SUMS", "-sigfile", "SHA256SUMS.sig"]

    subprocess.run(verify, cwd=out, check=True, capture_output=True)
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    assert subprocess.run(check, cwd=out, check=True, capture_output=True).stdout.count(b": OK") == 3
    image, key = out / f"{NAME}.img.zst", out / "release-key.pub.pem"
    assert run(["flash", "--image", str(image), "--to", str(card), "--verify-key", str(key)]) == 0
    assert card.read_bytes() == disk.read_bytes()

    with (out / "SHA256SUMS").open("ab") as sums:
        sums.write(b"\n")
    assert subprocess.run(verify, cwd=out, check=False, capture_output=True).returncode != 0


def test_an_image_that_is_too_large_is_not_signed(tmp_path: Path, made: Image) -> None:
    with pytest.raises(Failed, match="the limit is"):
        release.release("amd64", made, release.development_key(tmp_path), tmp_path / "out", packed_max=100)

    assert not (tmp_path / "out/SHA256SUMS.sig").exists()


def test_each_file_counts_for_one_part_and_byte_code_for_its_source(tree: Path) -> None:
    contents = read_contents(tree)

    sizes = {part.name: part.size for part in contents.parts if part.kind == "deb"}
    assert sizes == {"adduser": 1000, "libc6": 2000, "openssh-server": 3000}
    (sse,) = (part.size for part in contents.parts if part.name == "aiohttp_sse")
    assert sse == 900 + (tree / SITE / "aiohttp_sse-1.0.dist-info/METADATA").stat().st_size
    inodes = {path.stat().st_ino: path.stat().st_size for path in tree.rglob("*") if path.is_file()}
    assert sum(part.size for part in contents.parts) + contents.rest == sum(inodes.values())


def test_the_largest_come_first_and_the_others_are_summed(tree: Path) -> None:
    lines = release.sizes_text(read_contents(tree), 2).splitlines()

    assert lines[1].split() == ["3", "3,511", "openssh-server", "1:10.0p1-7+deb13u4"]
    assert lines[2].split() == ["2", "13", "libc6", "2.41-12+b1"]
    assert lines[3].split()[1:] == ["4", "others"]


def test_people_can_read_the_licences(tree: Path) -> None:
    parts = release.licences_text(read_contents(tree)).split("\n\n")

    assert parts[2:] == [
        "adduser 3.152 (Debian)\n    GPL-1.0-or-later OR Artistic-1.0\n    GPL-2.0-or-later\n"
        "    -> /usr/share/doc/adduser/copyright",
        "libc6 2.41-12+b1 (Debian)\n    nothing is said",
        "openssh-server 1:10.0p1-7+deb13u4 (Debian)\n    in the text only:\n"
        "    -> /usr/share/doc/openssh-server/copyright",
        "aiohttp_sse 1.0 (Python)\n    Apache-2.0",
        "cryptography 1.0 (Python)\n    Apache-2.0 OR BSD-3-Clause\n"
        f"    -> /{SITE}/cryptography-1.0.dist-info/licenses/LICENSE",
        "storebox 1.0 (this project)\n    Apache-2.0\n",
    ]

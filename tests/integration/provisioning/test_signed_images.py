"""A card is written only with what the release's key vouches for, under the name that it vouched for."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.domain.dsse import spki_fingerprint
from appliance.runtime.keyfile import public_pem
from provisioning.cli import run

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
IMAGE = "storebox-amd64-0.2.0.img"


def sign(folder: Path, key: Ed25519PrivateKey) -> None:
    """Vouch for what is in a folder."""
    sums = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(folder.iterdir())
    ]
    (folder / "SHA256SUMS").write_text("".join(sums))
    (folder / "SHA256SUMS.sig").write_bytes(key.sign("".join(sums).encode()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A release, fetched whole."""
    path = tmp_path / "release"
    path.mkdir()
    (path / IMAGE).write_bytes(b"an image")
    sign(path, KEY)
    (tmp_path / "key.pub").write_text(public_pem(KEY.public_key()))
    return path


def flash(folder: Path, *options: str) -> int:
    place = folder.parent
    files = ["--image", folder / IMAGE, "--to", place / "card", "--verify-key", place / "key.pub"]
    return run(["flash", *map(str, files), *options])


def test_a_signed_image_is_written_and_its_key_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert flash(folder, "--json") == 0

    assert (folder.parent / "card").read_bytes() == b"an image"
    assert json.loads(capsys.readouterr().out)["signed_by"] == spki_fingerprint(KEY.public_key())


def an_older_one_under_the_new_name(folder: Path) -> None:
    old = folder / "storebox-amd64-0.1.0.img"
    (folder / IMAGE).rename(old)
    for name in ("SHA256SUMS", "SHA256SUMS.sig"):
        (folder / name).unlink()
    sign(folder, KEY)
    old.rename(folder / IMAGE)


def of_another_key(folder: Path) -> None:
    for name in ("SHA256SUMS", "SHA256SUMS.sig"):
        (folder / name).unlink()
    sign(folder, OTHER)


def changed(folder: Path) -> None:
    (folder / IMAGE).write_bytes(b"an omage")


def changed_with_its_sum(folder: Path) -> None:
    changed(folder)
    signature = (folder / "SHA256SUMS.sig").read_bytes()
    of_another_key(folder)
    (folder / "SHA256SUMS.sig").write_bytes(signature)


def without_signature(folder: Path) -> None:
    (folder / "SHA256SUMS.sig").unlink()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (an_older_one_under_the_new_name, "does not name"),
        (of_another_key, "was not signed with"),
        (changed, "not what was signed"),
        (changed_with_its_sum, "was not signed with"),
        (without_signature, "SHA256SUMS.sig is missing"),
    ],
)
def test_anything_else_is_refused_before_the_card_is_touched(
    folder: Path, spoil: Callable[[Path], None], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(folder)

    assert flash(folder) == 1
    assert said in capsys.readouterr().err
    assert not (folder.parent / "card").exists()


def test_a_file_that_is_no_public_key_is_misuse(folder: Path) -> None:
    (folder.parent / "key.pub").write_text("no key")
    assert flash(folder) == 2

    (folder.parent / "key.pub").unlink()
    assert flash(folder) == 2
    assert not (folder.parent / "card").exists()

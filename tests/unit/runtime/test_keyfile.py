"""A key that is born here, once."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from appliance.domain.errors import ConfigError
from appliance.runtime.keyfile import load_or_create, public_pem, read_public_pem

ED25519 = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OF_ANOTHER_KIND = generate_private_key(SECP256R1())


def test_a_key_is_made_once_and_then_kept(tmp_path: Path) -> None:
    path = tmp_path / "box.pem"
    first = load_or_create(path)
    born = path.read_bytes()

    assert load_or_create(path).key_id == first.key_id
    assert path.read_bytes() == born
    assert load_or_create(tmp_path / "other.pem").key_id != first.key_id


def test_a_new_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    load_or_create(tmp_path / "box.pem")

    assert stat.S_IMODE((tmp_path / "box.pem").stat().st_mode) == 0o600


def test_a_key_made_by_other_tools_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "box.pem"
    path.write_bytes(ED25519.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    assert load_or_create(path).public_key == ED25519.public_key()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a key",
        b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n",
        # An algorithm nobody has heard of.
        b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDKgMEBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n"
        b"-----END PRIVATE KEY-----\n",
        OF_ANOTHER_KIND.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        ED25519.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")),
        ED25519.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    ],
    ids=["empty", "text", "cut", "unknown", "ec", "encrypted", "public"],
)
def test_a_damaged_or_foreign_key_stops_the_box_and_is_never_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "box.pem"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"box\.pem"):
        load_or_create(path)

    assert path.read_bytes() == content


def test_a_key_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "box.pem").mkdir()
    with pytest.raises(ConfigError, match=r"box\.pem"):
        load_or_create(tmp_path / "box.pem")


def test_a_public_key_travels_as_pem() -> None:
    pem = public_pem(ED25519.public_key())

    assert pem.startswith("-----BEGIN PUBLIC KEY-----\n")
    assert read_public_pem(pem) == ED25519.public_key()


@pytest.mark.parametrize(
    "pem",
    [
        "",
        "é",
        "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n",
        OF_ANOTHER_KIND.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
        ED25519.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    ],
    ids=["empty", "text", "cut", "ec", "private"],
)
def test_what_is_no_ed25519_public_key_is_refused(pem: str) -> None:
    with pytest.raises(ConfigError):
        read_public_pem(pem)

"""Keys, requests and certificates: born whole, and believed only when their own key signed them."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from appliance.domain.errors import ConfigError, Malformed
from appliance.runtime.certificates import csr, issue, key_spki, load_or_create_p256, private_pem, read_csr
from tests.fakes.authority import YEAR, a_key
from tests.fakes.clock import OPENING


def test_a_key_is_made_once_and_is_readable_by_its_user_alone(tmp_path: Path) -> None:
    first = load_or_create_p256(tmp_path / "tls-key.pem")

    assert key_spki(load_or_create_p256(tmp_path / "tls-key.pem")) == key_spki(first)
    assert (tmp_path / "tls-key.pem").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"-----BEGIN PRIVATE KEY-----\n",
        private_pem(generate_private_key(SECP384R1())),
        Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    ],
    ids=["empty", "torn", "another curve", "another kind"],
)
def test_a_damaged_key_is_never_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key.pem").write_bytes(content)

    with pytest.raises(ConfigError):
        load_or_create_p256(tmp_path / "key.pem")

    assert (tmp_path / "key.pem").read_bytes() == content


def test_a_request_gives_the_key_that_signed_it() -> None:
    key = a_key()

    asked = read_csr(csr(key, "sb-1"))

    assert (asked.public_key, asked.spki) == (key.public_key(), key_spki(key))


def _over(key: Ed25519PrivateKey | object) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    algorithm = None if isinstance(key, Ed25519PrivateKey) else SHA256()
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM).decode()  # type: ignore[arg-type]


def _forged() -> str:
    """A request over one key whose signature is another's."""
    der = bytearray(x509.load_pem_x509_csr(csr(a_key(), "sb-1").encode()).public_bytes(Encoding.DER))
    der[-5] ^= 1
    return x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "é",
        csr(a_key(), "x")[:100],
        _over(Ed25519PrivateKey.generate()),
        _over(generate_private_key(SECP384R1())),
        _forged(),
    ],
    ids=["empty", "no ASCII", "torn", "Ed25519", "P-384", "forged"],
)
def test_another_request_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        read_csr(text)


def test_a_certificate_says_what_was_asked_and_holds_under_its_issuer() -> None:
    root, leaf = a_key(), a_key()
    ends = OPENING + YEAR
    root_pem = issue(
        "root", root.public_key(), None, root, ca=True, pathlen=0, not_before=OPENING, not_after=ends
    )
    issuer = x509.load_pem_x509_certificate(root_pem)

    made = x509.load_pem_x509_certificate(
        issue(
            "sb-1",
            leaf.public_key(),
            issuer,
            root,
            ca=False,
            pathlen=None,
            not_before=OPENING + timedelta(days=1),
            not_after=ends,
            san=[x509.DNSName("sb-1.local")],
        )
    )

    made.verify_directly_issued_by(issuer)
    issuer.verify_directly_issued_by(issuer)
    assert made.not_valid_before_utc == OPENING + timedelta(days=1)
    assert made.not_valid_after_utc == ends
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["sb-1.local"]
    assert issuer.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(
        True, 0
    )

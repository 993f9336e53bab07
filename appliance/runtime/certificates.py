"""X.509 as this project uses it: P-256 keys, requests (PKCS#10) and certificates, all as PEM."""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID, ObjectIdentifier

from appliance.domain.dsse import spki_fingerprint
from appliance.domain.errors import BadSignature, ConfigError, Malformed
from appliance.runtime.files import write_whole


class CSR(NamedTuple):
    """A request that its own key has signed: the only things in it that are believed."""

    public_key: EllipticCurvePublicKey
    spki: str


def load_or_create_p256(path: Path) -> EllipticCurvePrivateKey:
    """The key in this file; makes it (mode 0600, on disk before this returns) when there is none.

    Raises ConfigError when the file cannot be read or holds no P-256 key: a damaged key is never silently replaced.
    """
    if not path.exists():
        write_whole(path, private_pem(generate_private_key(SECP256R1())), mode=0o600)
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # TypeError: it wants a password
        raise ConfigError(f"{path}: no private key: {error}") from error
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise ConfigError(f"{path}: not a P-256 key")
    return key


def private_pem(key: EllipticCurvePrivateKey) -> bytes:
    """The key as PEM (PKCS#8, not encrypted)."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def key_spki(key: EllipticCurvePrivateKey) -> str:
    """The hash by which the key's public half is pinned: `spki_fingerprint`."""
    return spki_fingerprint(key.public_key())


def csr(key: EllipticCurvePrivateKey, name: str) -> str:
    """A request for a certificate over this key. Who issues takes the key from it, and decides the rest."""
    request = x509.CertificateSigningRequestBuilder().subject_name(_name(name)).sign(key, SHA256())
    return request.public_bytes(Encoding.PEM).decode()


def read_csr(pem: str) -> CSR:
    """The request in PEM text. Raises Malformed unless it is one over a P-256 key, signed by that key."""
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        key, signed = request.public_key(), request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise Malformed(f"not a certificate request: {error}") from error
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise Malformed("the certificate request is not over a P-256 key")
    if not signed:
        raise Malformed("the certificate request is not signed by its own key")
    return CSR(key, spki_fingerprint(key))


def issue(
    subject: str,
    public_key: EllipticCurvePublicKey,
    issuer_cert: x509.Certificate | None,
    issuer_key: EllipticCurvePrivateKey,
    *,
    ca: bool,
    pathlen: int | None,
    not_before: datetime,
    not_after: datetime,
    san: Sequence[x509.GeneralName] = (),
    eku: Sequence[ObjectIdentifier] = (),
    constraints: x509.NameConstraints | None = None,
) -> bytes:
    """A certificate as PEM. `issuer_cert` None: `issuer_key` signs its own."""
    authority = public_key if issuer_cert is None else issuer_cert.public_key()
    assert isinstance(authority, EllipticCurvePublicKey)  # all our authorities are
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(subject) if issuer_cert is None else issuer_cert.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca, pathlen), critical=True)
        .add_extension(_usage(ca), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority), critical=False)
    )
    if san:
        builder = builder.add_extension(x509.SubjectAlternativeName(san), critical=False)
    if eku:
        builder = builder.add_extension(x509.ExtendedKeyUsage(eku), critical=False)
    if constraints is not None:
        builder = builder.add_extension(constraints, critical=True)
    return builder.sign(issuer_key, SHA256()).public_bytes(Encoding.PEM)


def check_chain(chain: str, root: str) -> x509.Certificate:
    """The first certificate of a PEM chain that leads to this root, signature by signature; dates are not judged.

    Raises BadSignature.
    """
    try:
        links = x509.load_pem_x509_certificates(f"{chain}\n{root}".encode())
        for below, above in pairwise(links):
            below.verify_directly_issued_by(above)
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise BadSignature("the certificates do not lead to head office's authority") from error
    if len(links) < 2:
        raise BadSignature("there is no certificate")
    return links[0]


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _usage(ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )

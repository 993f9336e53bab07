"""The chain's own authority: it certifies boxes and head office itself, and recognises what it has certified.

The root (20 years) signs nothing but issuing certificates, and boxes know head office by it: its key is needed again
only when the issuing certificate nears its end, so the operator may keep it elsewhere. The issuing key (10 years)
certifies boxes, each box's LAN authority and the servers of head office, each for a year.
"""

import hashlib
import ipaddress
import logging
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta
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
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import serialize_certificates
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from appliance.domain.dsse import spki_fingerprint
from appliance.domain.errors import ConfigError
from appliance.runtime.certificates import CSR, issue, key_spki, load_or_create_p256, private_pem
from appliance.runtime.clock import Clock
from appliance.runtime.files import write_whole

log = logging.getLogger(__name__)

YEAR = timedelta(days=365)
ROOT_LIFE, ISSUING_LIFE, LEAF_LIFE = 20 * YEAR, 10 * YEAR, YEAR
# With less left than this the issuing certificate is made anew: what it signs must never outlive it.
ISSUING_LEFT_MIN = 2 * YEAR
# A peer whose clock is a little behind takes a fresh certificate all the same.
BACKDATED = timedelta(minutes=5)
# Certificates that were judged lately, so that each request does not cost a signature.
REMEMBERED_MAX = 4_096
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")

_SERVER, _CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
_LAN = (
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8"),
    *("fc00::/7", "fe80::/10", "::1/128"),
)


class Recognised(NamedTuple):
    """A box's certificate that we issued. Whether its time is over is for who asks to judge."""

    box: str
    spki: str
    not_after: datetime


class Authority:
    """Use `Authority.open`."""

    def __init__(
        self, root: x509.Certificate, issuing: x509.Certificate, key: EllipticCurvePrivateKey, clock: Clock
    ) -> None:
        self._root = root
        self._issuing = issuing
        self._key = key
        self._clock = clock
        self._judged: OrderedDict[bytes, Recognised | None] = OrderedDict()
        self.root_pem = root.public_bytes(Encoding.PEM).decode()
        self._issuing_pem = issuing.public_bytes(Encoding.PEM)
        self.pin = spki_fingerprint(root.public_key())

    @staticmethod
    def open(state: Path, clock: Clock) -> "Authority":
        """The authority kept in this folder; made when there is none. Blocks.

        Raises ConfigError when a part is damaged or missing: what boxes have pinned is never replaced by itself.
        """
        now = clock.wall()
        root = _root(state, now) or _new_root(state, now)
        key = _issuing_key(state)
        return Authority(root, _issuing(state, root, key, now), key, clock)

    def cacerts(self) -> bytes:
        """Root and issuing certificate as PKCS#7 (DER, certificates only)."""
        return serialize_certificates([self._root, self._issuing], Encoding.DER)

    def box_certificate(self, csr: CSR, box: str) -> str:
        """PEM of a box's client certificate for a year, and of the issuing one."""
        return (self._leaf(csr.public_key, box, (), _CLIENT) + self._issuing_pem).decode()

    def lan_certificate(self, csr: CSR, box: str) -> str:
        """PEM of a box's own LAN authority for a year, and of the issuing one.

        It certifies servers alone, under this box's name and at private addresses.
        """
        allowed: list[x509.GeneralName] = [x509.DNSName(f"{box}.local")]
        allowed += [x509.IPAddress(ipaddress.ip_network(network)) for network in _LAN]
        begins, ends = self._life()
        pem = issue(
            f"{box} LAN",
            csr.public_key,
            self._issuing,
            self._key,
            ca=True,
            pathlen=0,
            not_before=begins,
            not_after=ends,
            eku=(_SERVER,),
            constraints=x509.NameConstraints(allowed, None),
        )
        return (pem + self._issuing_pem).decode()

    def server_identity(self, names: Sequence[str]) -> tuple[bytes, bytes]:
        """A fresh key and its chain (PEM) for head office under these names and addresses, and on loopback.

        Raises ConfigError for what is neither name nor address.
        """
        key = generate_private_key(SECP256R1())
        san = [_general_name(name) for name in dict.fromkeys((*names, *LOOPBACK_NAMES))]
        return private_pem(key), self._leaf(
            key.public_key(), "storebox-cloud", san, _SERVER
        ) + self._issuing_pem

    def recognise(self, der: bytes) -> Recognised | None:
        """Which box a certificate names, if we issued it to a box. None for all others; dates are not judged."""
        digest = hashlib.sha256(der).digest()
        if digest not in self._judged:
            self._judged[digest] = self._recognise(der)
            if len(self._judged) > REMEMBERED_MAX:
                self._judged.popitem(last=False)
        self._judged.move_to_end(digest)
        return self._judged[digest]

    def _recognise(self, der: bytes) -> Recognised | None:
        try:
            certificate = x509.load_der_x509_certificate(der)
            certificate.verify_directly_issued_by(self._issuing)
            extensions, key = certificate.extensions, certificate.public_key()
            is_authority = extensions.get_extension_for_class(x509.BasicConstraints).value.ca
            uses = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound):
            return None
        if is_authority or _CLIENT not in uses or not isinstance(key, EllipticCurvePublicKey):
            return None
        return Recognised(str(name.value), spki_fingerprint(key), certificate.not_valid_after_utc)

    def _leaf(
        self, key: EllipticCurvePublicKey, name: str, san: Sequence[x509.GeneralName], eku: ObjectIdentifier
    ) -> bytes:
        begins, ends = self._life()
        return issue(
            name,
            key,
            self._issuing,
            self._key,
            ca=False,
            pathlen=None,
            not_before=begins,
            not_after=ends,
            san=san,
            eku=(eku,),
        )

    def _life(self) -> tuple[datetime, datetime]:
        now = self._clock.wall()
        return now - BACKDATED, now + LEAF_LIFE


def _root(state: Path, now: datetime) -> x509.Certificate | None:
    """The root; None before the first start. Its key is not needed for that."""
    path = state / "authority-root.pem"
    if path.exists():
        root = _certificate(path)
        if now >= root.not_valid_after_utc:
            raise ConfigError(f"{path}: the root certificate has ended; every box must be enrolled anew")
        return root
    if (state / "authority-issuing.pem").exists():
        raise ConfigError(f"{path} is missing; boxes know head office by it: put it back")
    return None


def _new_root(state: Path, now: datetime) -> x509.Certificate:
    key = load_or_create_p256(state / "authority-root-key.pem")
    pem = issue(
        "storebox root",
        key.public_key(),
        None,
        key,
        ca=True,
        pathlen=2,
        not_before=now - BACKDATED,
        not_after=now + ROOT_LIFE,
    )
    write_whole(state / "authority-root.pem", pem, mode=0o644)
    return x509.load_pem_x509_certificate(pem)


def _issuing_key(state: Path) -> EllipticCurvePrivateKey:
    path = state / "authority-issuing-key.pem"
    if not path.exists() and (state / "authority-issuing.pem").exists():
        raise ConfigError(f"{path} is missing; without it no box can be certified: put it back")
    return load_or_create_p256(path)


def _issuing(
    state: Path, root: x509.Certificate, key: EllipticCurvePrivateKey, now: datetime
) -> x509.Certificate:
    """The issuing certificate, made anew over the same key when it is missing or near its end."""
    path, root_key_path = state / "authority-issuing.pem", state / "authority-root-key.pem"
    kept = _certificate(path) if path.exists() else None
    if kept is not None:
        if kept.public_key() != key.public_key():
            raise ConfigError(f"{path}: not the certificate of authority-issuing-key.pem")
        left = kept.not_valid_after_utc - now
        if left > ISSUING_LEFT_MIN:
            return kept
        if left > LEAF_LIFE and not root_key_path.exists():
            log.warning("authority.issuing_ends", extra={"days": left.days, "needs": str(root_key_path)})
            return kept
    if not root_key_path.exists():
        raise ConfigError(f"{root_key_path} is needed once, for a new issuing certificate: put it back")
    root_key = load_or_create_p256(root_key_path)
    if key_spki(root_key) != spki_fingerprint(root.public_key()):
        raise ConfigError(f"{root_key_path}: not the key of authority-root.pem")
    pem = issue(
        "storebox issuing",
        key.public_key(),
        root,
        root_key,
        ca=True,
        pathlen=1,
        not_before=now - BACKDATED,
        not_after=min(now + ISSUING_LIFE, root.not_valid_after_utc),
    )
    write_whole(path, pem, mode=0o644)
    return x509.load_pem_x509_certificate(pem)


def _certificate(path: Path) -> x509.Certificate:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        key = certificate.public_key()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path}: no certificate: {error}") from error
    if not isinstance(key, EllipticCurvePublicKey):
        raise ConfigError(f"{path}: not the certificate of a P-256 key")
    return certificate


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name)
    except ValueError as error:
        raise ConfigError(f"names: {name!r} is neither a name nor an address") from error

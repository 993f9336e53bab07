"""A chain's authority in memory: root, issuing key, and what they certify."""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from appliance.runtime.certificates import issue, key_spki, private_pem
from tests.fakes.clock import OPENING

SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
YEAR = timedelta(days=365)


def a_key() -> EllipticCurvePrivateKey:
    return generate_private_key(SECP256R1())


class FakeAuthority:
    """Root → issuing → leaf, as head office builds them (without constraints)."""

    def __init__(self, begins: datetime = OPENING - timedelta(minutes=5)) -> None:
        root, self._key = a_key(), a_key()
        ends = datetime(2046, 1, 1, tzinfo=UTC)
        self.root_pem = issue(
            "root", root.public_key(), None, root, ca=True, pathlen=2, not_before=begins, not_after=ends
        )
        self._issuing = issue(
            "issuing",
            self._key.public_key(),
            x509.load_pem_x509_certificate(self.root_pem),
            root,
            ca=True,
            pathlen=1,
            not_before=begins,
            not_after=ends,
        )
        self.pin = key_spki(root)
        self._begins = begins

    def chain(
        self,
        name: str,
        public_key: EllipticCurvePublicKey,
        *,
        addresses: Sequence[str] = (),
        eku: Sequence[ObjectIdentifier] = (SERVER, CLIENT),
        begins: datetime | None = None,
        life: timedelta = YEAR,
    ) -> bytes:
        """PEM of a leaf for this name and these addresses, and of the issuing certificate."""
        begins = begins or self._begins
        san = [x509.DNSName(name), *(x509.IPAddress(ipaddress.ip_address(text)) for text in addresses)]
        leaf = issue(
            name,
            public_key,
            x509.load_pem_x509_certificate(self._issuing),
            self._key,
            ca=False,
            pathlen=None,
            not_before=begins,
            not_after=begins + life,
            san=san,
            eku=eku,
        )
        return leaf + self._issuing

    def identity(self, name: str, addresses: Sequence[str] = ("127.0.0.1",)) -> tuple[bytes, bytes]:
        """A fresh key and its chain, as `server_context` and `client_context` take them."""
        key = a_key()
        return private_pem(key), self.chain(name, key.public_key(), addresses=addresses)

"""The certificates that the box itself signs: its own leaf for the LAN, and its tills' ones.

The chain gave it an intermediate that can only name this box and private addresses, so that a new address needs no
line to head office.
"""

import asyncio
import hashlib
import ipaddress
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from appliance.domain.errors import CannotAccept
from appliance.runtime.certificates import issue
from appliance.runtime.clock import Clock
from appliance.runtime.pause import pause
from appliance.services.ports import LanKeys, Recorder

log = logging.getLogger(__name__)

# A new leaf at most this often; also how soon a new address is noticed that nobody tells of.
LOOK_EVERY_S = 10.0

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class LanCertificate:
    """The box's own leaf: names `<id>.local` and the addresses that it has now.

    `use` gives key and chain to the listener, for the handshakes that begin from then on.
    """

    def __init__(
        self,
        keys: LanKeys,
        box: str,
        addresses: Callable[[], Sequence[str]],
        journal: Recorder,
        clock: Clock,
    ) -> None:
        self._keys = keys
        self._box = box
        self._addresses = addresses
        self._journal = journal
        self._clock = clock
        self._moved = asyncio.Event()
        self._issued_for: tuple[bytes, list[str]] | None = None
        self._ends: datetime | None = None

    def nudge(self) -> None:
        """Look at the addresses now."""
        self._moved.set()

    def identity(self) -> tuple[bytes, bytes]:
        """The TLS key and a fresh chain under it, as PEM."""
        chain, authority_key = self._keys.lan_issuer()
        authority = x509.load_pem_x509_certificate(chain)
        key = load_pem_private_key(self._keys.tls_key_pem(), password=None).public_key()
        assert isinstance(key, EllipticCurvePublicKey)  # LanKeys holds no others
        addresses = [text for text in self._addresses() if _permits(authority, ipaddress.ip_address(text))]
        self._issued_for, self._ends = (chain, addresses), authority.not_valid_after_utc
        leaf = issue(
            self._box,
            key,
            authority,
            authority_key,
            ca=False,
            pathlen=None,
            # The leaf says nothing that the intermediate does not: it ends with it, and by no clock of ours.
            not_before=authority.not_valid_before_utc,
            not_after=authority.not_valid_after_utc,
            san=[
                x509.DNSName(f"{self._box}.local"),
                *(x509.IPAddress(ipaddress.ip_address(text)) for text in addresses),
            ],
            eku=[ExtendedKeyUsageOID.SERVER_AUTH],
        )
        return self._keys.tls_key_pem(), leaf + chain

    def left_s(self, now: datetime) -> float | None:
        """How long it still holds, and the box's own certificate with it, which is of the same day; None: none yet."""
        return None if self._ends is None else round((self._ends - now).total_seconds(), 3)

    async def note(self) -> None:
        """Say in the chain of events what was issued last. A journal that is full is no reason not to serve."""
        assert self._issued_for is not None  # identity() comes first
        try:
            await self._journal.record("lan_certificate_issued", {"addresses": self._issued_for[1]})
        except CannotAccept as error:
            log.warning("lan.certificate_unrecorded", extra={"why": str(error)})

    async def run(self, use: Callable[[bytes, bytes], None]) -> None:
        """For ever: a new leaf when the addresses change, or when the chain has renewed the intermediate."""
        while True:
            # At most one in so long, however the addresses swing.
            await self._clock.sleep(LOOK_EVERY_S)
            if await self._holds():
                await pause(self._clock, LOOK_EVERY_S, self._moved)
            if not await self._holds():
                use(*await asyncio.to_thread(self.identity))
                await self.note()

    async def _holds(self) -> bool:
        self._moved.clear()
        return self._issued_for == await asyncio.to_thread(self._wanted)

    def _wanted(self) -> tuple[bytes, list[str]]:
        chain, _ = self._keys.lan_issuer()
        authority = x509.load_pem_x509_certificate(chain)
        return chain, [text for text in self._addresses() if _permits(authority, ipaddress.ip_address(text))]


class Certified(NamedTuple):
    """A till's certificate: PEM with the till authority behind, and the hash that its connections are known by."""

    pem: str
    sha256: str


class TillAuthority:
    """Certifies the keys of tills. A pairing ends by revocation, so its certificates have no end of their own."""

    def __init__(self, keys: LanKeys) -> None:
        self._pem, self._key = keys.till_issuer()
        self._certificate = x509.load_pem_x509_certificate(self._pem)

    @property
    def pem(self) -> str:
        """Whom the LAN port believes about tills."""
        return self._pem.decode()

    def certify(self, till: str, key: EllipticCurvePublicKey) -> Certified:
        """A certificate for a till's key."""
        leaf = issue(
            till,
            key,
            self._certificate,
            self._key,
            ca=False,
            pathlen=None,
            not_before=self._certificate.not_valid_before_utc,
            not_after=self._certificate.not_valid_after_utc,
            eku=[ExtendedKeyUsageOID.CLIENT_AUTH],
        )
        der = x509.load_pem_x509_certificate(leaf).public_bytes(Encoding.DER)
        return Certified((leaf + self._pem).decode(), hashlib.sha256(der).hexdigest())


def _permits(authority: x509.Certificate, address: IpAddress) -> bool:
    """Whether the authority may name this address; a leaf with another one would be refused as a whole."""
    try:
        constraints = authority.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return True
    networks = [
        name.value for name in constraints.permitted_subtrees or () if isinstance(name, x509.IPAddress)
    ]
    return any(
        address in network
        for network in networks
        if isinstance(network, ipaddress.IPv4Network | ipaddress.IPv6Network)
    )

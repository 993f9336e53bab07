"""Give a box its two certificates, for its TLS key and for its LAN authority, and keep what it was given.

The same keys asked for again get the same certificates: an answer that got lost costs nothing.
"""

import hashlib
from datetime import datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from sqlalchemy.ext.asyncio import AsyncConnection

from appliance.domain.errors import Malformed
from appliance.runtime.certificates import CSR, read_csr
from cloud import store_identity
from cloud.authority import BACKDATED, Authority
from cloud.store_identity import Standing

# A certificate younger than this is given again instead of a new one.
LATELY = timedelta(hours=1)


class Asked(NamedTuple):
    """The two keys that a box wants certified, each proven by its request's own signature."""

    tls: CSR
    lan: CSR

    @property
    def sha256(self) -> bytes:
        """Names the pair of keys."""
        return hashlib.sha256(f"{self.tls.spki} {self.lan.spki}".encode()).digest()


class Given(NamedTuple):
    """Two PEM chains."""

    certificate: str
    lan_certificate: str


def read_asked(csr: str, lan_csr: str) -> Asked:
    """The keys of two requests in PEM. Raises Malformed, also when both are over one key."""
    asked = Asked(read_csr(csr), read_csr(lan_csr))
    if asked.tls.spki == asked.lan.spki:
        raise Malformed("the two certificate requests are over the same key")
    return asked


def given_lately(box: Standing, asked: Asked, now: datetime) -> Given | None:
    """What a box was given for these keys within the last hour."""
    given = given_before(box, asked)
    if given is None:
        return None
    begins = x509.load_pem_x509_certificate(given.certificate.encode()).not_valid_before_utc
    return given if begins + BACKDATED > now - LATELY else None


def given_before(box: Standing, asked: Asked) -> Given | None:
    """What a box was given last, if it was for these keys."""
    if box.certificate is None or box.lan_certificate is None or box.csr_sha256 != asked.sha256:
        return None
    return Given(box.certificate, box.lan_certificate)


async def certify(connection: AsyncConnection, authority: Authority, box: str, asked: Asked) -> Given:
    """New certificates for a box that is known; from now on only this TLS key is believed."""
    given = Given(authority.box_certificate(asked.tls, box), authority.lan_certificate(asked.lan, box))
    await store_identity.put_certificates(
        connection,
        box,
        tls_spki=asked.tls.spki,
        certificate=given.certificate,
        lan_certificate=given.lan_certificate,
        csr_sha256=asked.sha256,
    )
    return given

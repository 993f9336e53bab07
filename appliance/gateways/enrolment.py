"""What stands in `enrolment.json` and `enrolment.pending`."""

from datetime import datetime

import msgspec
from cryptography import x509

from appliance.domain.dsse import spki_fingerprint
from appliance.domain.enrolling import EnrolAnswer
from appliance.domain.errors import BadSignature
from appliance.domain.statements import Keys
from appliance.runtime.keyfile import read_public_pem


class Enrolment(msgspec.Struct, frozen=True):
    """What enrolment gave: where the box belongs, and whom it believes.

    `pin` is of the authority that the claim named; empty: the system's trust store knows head office.
    """

    cloud_url: str
    answer: EnrolAnswer
    pin: str = ""

    def keys(self) -> Keys:
        """The cloud's keys by fingerprint."""
        return keys_of(self.answer.cloud_keys)

    def authority(self) -> str | None:
        """The root (PEM) that head office's own certificate leads to; None: one of the system's."""
        return self.answer.authority if self.pin else None

    def lasts(self) -> tuple[datetime, datetime] | None:
        """When the box's certificate begins and ends; None: it has none."""
        if not self.answer.certificate:
            return None
        leaf = x509.load_pem_x509_certificate(self.answer.certificate.encode())
        return leaf.not_valid_before_utc, leaf.not_valid_after_utc


class Pending(msgspec.Struct, frozen=True):
    """A claim that is being tried, and the request that was made with it."""

    claim: str
    nonce: str
    request: str


def keys_of(pems: list[str]) -> Keys:
    """Public keys (PEM) by fingerprint."""
    return {spki_fingerprint(key): key for key in map(read_public_pem, pems)}


def pin_of(certificate: str) -> str:
    """The hash by which an authority (PEM) is pinned. Raises BadSignature for what is no certificate."""
    try:
        return spki_fingerprint(x509.load_pem_x509_certificate(certificate.encode()).public_key())
    except ValueError as error:
        raise BadSignature("the authority's certificate cannot be read") from error

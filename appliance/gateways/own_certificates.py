"""Certificates that a box gives itself, because nobody else need believe them."""

from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from appliance.runtime.certificates import issue
from appliance.runtime.clock import BUILT_AT
from appliance.runtime.files import write_whole

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# RFC 5280 4.1.2.5: of a certificate without a known end.
NEVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def self_signed(key: EllipticCurvePrivateKey, name: str) -> bytes:
    """The certificate (PEM) that an unclaimed box shows under its name: only its key means anything."""
    return issue(
        name,
        key.public_key(),
        None,
        key,
        ca=False,
        pathlen=None,
        not_before=BUILT_AT,
        not_after=NEVER,
        san=(x509.DNSName(name),),
    )


def till_authority(path: Path, key: EllipticCurvePrivateKey, box: str) -> bytes:
    """The certificate (PEM) of the authority for this box's tills, made at first. A pairing ends by no date. Blocks."""
    if not path.exists():
        certificate = issue(
            f"{box} tills",
            key.public_key(),
            None,
            key,
            ca=True,
            pathlen=0,
            not_before=EPOCH,
            not_after=NEVER,
        )
        write_whole(path, certificate, mode=0o644)
    return path.read_bytes()

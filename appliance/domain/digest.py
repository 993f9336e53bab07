"""Content-Digest (RFC 9530): a body names its own SHA-256, so that what was changed on its way is noticed.

Plain HTTP has only TCP's 16-bit checksums against a bit that flips in a router. Chains and statements are signed; a
sale on its way to head office, or an operation, is not. This keeps no attacker out.
"""

import base64
import binascii
import hashlib

from appliance.domain.errors import Altered

HEADER = "Content-Digest"
_PREFIX, _SUFFIX = "sha-256=:", ":"


def digest_of(body: bytes) -> str:
    """The header's value for this body."""
    return _PREFIX + base64.b64encode(hashlib.sha256(body).digest()).decode() + _SUFFIX


def check_digest(header: str | None, body: bytes) -> None:
    """Raises Altered when the header names another SHA-256 than the body's. Without one there is nothing to check."""
    for member in (header or "").split(","):
        told = member.strip()
        if told.startswith(_PREFIX) and told.endswith(_SUFFIX):
            try:
                sha256 = base64.b64decode(told[len(_PREFIX) : -len(_SUFFIX)], validate=True)
            except binascii.Error as error:
                raise Altered(f"{HEADER} cannot be read: {error}") from error
            if sha256 != hashlib.sha256(body).digest():
                raise Altered

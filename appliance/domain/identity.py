"""Who a box is: its name comes from its key, so two boxes never share one and nobody hands names out."""

import base64
import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def box_id(key: Ed25519PublicKey) -> str:
    """`sb-` and 16 base32 letters (80 bits) of the SHA-256 of the key's SubjectPublicKeyInfo; a DNS label."""
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return "sb-" + base64.b32encode(hashlib.sha256(spki).digest()[:10]).decode().lower()

"""What lies beside the image of a box: SHA256SUMS, as sha256sum(1) writes it, and an Ed25519 signature over it.

The signature is the bare 64 bytes of RFC 8032, so that whoever has no tool of ours checks it with OpenSSL 3:
`openssl pkeyutl -verify -pubin -inkey KEY -rawin -in SHA256SUMS -sigfile SHA256SUMS.sig`.
"""

import hashlib
import re
from pathlib import Path

from cryptography.exceptions import InvalidSignature

from appliance.domain.dsse import spki_fingerprint
from appliance.domain.errors import ConfigError
from appliance.runtime.keyfile import read_public_pem
from provisioning.errors import Failed

SUMS = "SHA256SUMS"
SIGNATURE = "SHA256SUMS.sig"
_LINE = re.compile(r"([0-9a-f]{64}) [ *]([^/\0]+)")


def check(image: Path, key_file: Path) -> str:
    """The fingerprint of the key in this file, when it signed this very image under this very name. Blocks.

    The name counts: it says release and kind of box, so an older image cannot pass for a newer one. Raises
    ConfigError for a file that holds no key, Failed for an image that the key does not vouch for.
    """
    try:
        key = read_public_pem(key_file.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{key_file}: {error}") from error
    try:
        sums, signature = (image.with_name(name).read_bytes() for name in (SUMS, SIGNATURE))
    except OSError as error:
        raise Failed(f"{error.filename} is missing: nobody vouches for {image.name}") from error
    try:
        key.verify(signature, sums)
    except InvalidSignature as error:
        raise Failed(f"{SUMS} beside {image.name} was not signed with {key_file}, or was changed") from error
    lines = (_LINE.fullmatch(line) for line in sums.decode(errors="replace").splitlines())
    said = {line[2]: line[1] for line in lines if line}
    if image.name not in said:
        raise Failed(f"{SUMS} does not name {image.name}: it belongs to another release, or was renamed")
    with image.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != said[image.name]:
            raise Failed(f"{image.name} is not what was signed: it is damaged, or somebody changed it")
    return spki_fingerprint(key)

"""Head office as far as updates go, in memory. Implements services.ports.UpdateCloud."""

import hashlib
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.domain.dsse import Signer
from appliance.domain.errors import CloudUnreachable
from appliance.domain.link import Cause
from appliance.domain.statements import OFFER_TYPE, Keys, sign
from appliance.domain.update import Offer

BUNDLE = bytes(range(256)) * 4_096  # 1 MiB: four pieces


def an_offer(**fields: Any) -> Offer:
    """An offer of BUNDLE; fields can be made otherwise."""
    plain: dict[str, Any] = {
        "number": 1,
        "version": "0.2.0",
        "compatible": "storebox-amd64",
        "sha256": hashlib.sha256(BUNDLE).hexdigest(),
        "size": len(BUNDLE),
        "floor": "0.0.0",
    }
    return Offer(**(plain | fields))


class FakeUpdates:
    """Offers one bundle. `cut_after` pieces the line is gone; `altered` changes what it carries."""

    def __init__(self) -> None:
        self.signer = Signer(Ed25519PrivateKey.generate())
        self.keys: Keys = {self.signer.key_id: self.signer.public_key}
        self.offered = an_offer()
        self.by: Signer = self.signer
        self.cut_after: int | None = None
        self.altered: Callable[[bytes], bytes] = bytes
        self.pieces: list[int] = []

    async def offer(self) -> bytes:
        self._pass()
        return sign(self.by, OFFER_TYPE, self.offered)

    async def fetch_piece(self, sha256: str, start: int, count: int, size: int) -> bytes:
        assert (sha256, size) == (self.offered.sha256, self.offered.size)
        self._pass()
        if self.cut_after is not None:
            self.cut_after -= 1
        self.pieces.append(start)
        return self.altered(BUNDLE[start : start + count])

    def _pass(self) -> None:
        if self.cut_after == 0:
            raise CloudUnreachable("the line is cut", cause=Cause.NO_ANSWER)

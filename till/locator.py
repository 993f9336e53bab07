"""Ask head office where our box said last that it is, and who took its place (docs/PROTOCOL.md, "The cloud")."""

import logging
import ssl
from typing import NamedTuple

import aiohttp

from appliance.domain.enrolling import Place
from appliance.domain.errors import BadSignature
from till.identity import Pairing
from till.peer import Peer
from till.succession import STEPS_MAX, Successions

log = logging.getLogger(__name__)

LOCATE_S = 3.0


class Located(NamedTuple):
    """host:port of our box, or of the one in its place."""

    box: str
    places: list[str]


class Locator:
    """Head office, asked in this till's name. What it tells are hints; only a signed succession is more."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base: str,
        token: str,
        context: ssl.SSLContext | None,
        successions: Successions,
    ) -> None:
        self._peer = Peer(session, base, total_s=LOCATE_S, context=context, token=token)
        self._successions = successions
        self.base = base

    async def locate(self, pairing: Pairing) -> Located:
        """Where to look. Raises NoAnswer or Refused."""
        box = pairing.box
        for _ in range(STEPS_MAX):
            place = self._peer.parsed(await self._peer.get(f"/v1/locator/{box}"), Place)
            if place.succession is None:
                break
            try:
                said = self._successions.learn(place.succession, pairing)
            except BadSignature as error:
                log.warning("locator.bad_succession", extra={"box": box, "why": str(error)})
                break
            if said.old != box:
                break
            box = said.new
        else:
            return Located(box, [])
        return Located(box, [_with_port(address, place.port) for address in place.addresses])


def _with_port(address: str, port: int) -> str:
    """host:port of an address that comes without one; an IPv6 address gets its brackets."""
    if address.startswith("[") or address.count(":") == 1:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"

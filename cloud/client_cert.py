"""Which certificate a caller has: of its own connection, or as a proxy tells it in `Client-Cert` (RFC 9440).

The header is believed from configured proxies alone; in what anybody else sends it is as if it were not there. A
configured proxy can name any certificate, so it can speak for any box: it must check what it tells.
"""

import base64
import binascii
import ipaddress
import logging
from collections.abc import Iterable

from aiohttp import web

from appliance.domain.errors import Malformed

log = logging.getLogger(__name__)

HEADER = "Client-Cert"
# Longer than any certificate of ours; what follows is not worth decoding.
HEADER_CHARACTERS_MAX = 8_192
# Who sends the header without being a proxy is told of once, and at most so many are remembered.
STRANGERS_MAX = 1_000


class ClientCertificates:
    """Knows the proxies. Give it their addresses."""

    def __init__(self, proxies: Iterable[str]) -> None:
        self._proxies = {plain_address(address) for address in proxies}
        self._strangers: set[str] = set()

    def shown(self, request: web.Request) -> bytes | None:
        """The certificate (DER), or None. Raises Malformed when a proxy tells what is no certificate's bytes."""
        remote = plain_address(request.remote or "")
        told = request.headers.getall(HEADER, [])
        if remote in self._proxies:
            # The certificate of the connection would be the proxy's own.
            return _decoded(told) if told else None
        if told and remote not in self._strangers and len(self._strangers) < STRANGERS_MAX:
            self._strangers.add(remote)
            log.warning("client-cert.ignored", extra={"remote": remote})
        connection = request.get_extra_info("ssl_object")
        shown: bytes | None = None if connection is None else connection.getpeercert(True)
        return shown


def plain_address(text: str) -> str:
    """One spelling for each address; an IPv4 address that came over an IPv6 socket is one of IPv4."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _decoded(told: list[str]) -> bytes:
    """The bytes of a structured field's byte sequence (RFC 9651 section 3.3.5): base64 between colons."""
    if len(told) > 1:
        raise Malformed(f"the header {HEADER} comes twice")
    text = told[0].strip()
    if len(text) > HEADER_CHARACTERS_MAX or len(text) < 2 or text[0] != ":" or text[-1] != ":":
        raise Malformed(f"the header {HEADER} is no byte sequence")
    try:
        return base64.b64decode(text[1:-1], validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed(f"the header {HEADER} is no byte sequence: {error}") from error

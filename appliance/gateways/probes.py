"""Name why the cloud could not be reached: the outermost thing that is known to be wrong.

From the error itself, and, where it says no more than "nothing came back", from what this machine knows of the layers
below: is any interface up, is there a way out, does the gateway answer. Nothing is sent for it.
"""

import errno
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from appliance.domain.errors import BadSignature
from appliance.domain.event import ClockQuality
from appliance.domain.link import Cause

# X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED (openssl/x509_vfy.h).
NOT_YET_VALID, EXPIRED = 9, 10
# A destination that no route leads to, or whose next hop does not answer.
NO_WAY = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN}
# What the kernel says of a route or a neighbour (linux/route.h, linux/ipv6_route.h, linux/if_arp.h).
RTF_UP, RTF_REJECT, ATF_COMPLETE = 0x1, 0x200, 0x2

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class LinkFacts:
    """What this machine knows of its own network, read afresh at each question.

    `root` is where /proc lies. Its files are the kernel's tables: reading them waits for no device.
    """

    def __init__(
        self,
        root: Path = Path("/"),
        addresses: Callable[[], Mapping[str, Sequence[Any]]] = psutil.net_if_addrs,
        stats: Callable[[], Mapping[str, Any]] = psutil.net_if_stats,
    ) -> None:
        self._net = root / "proc" / "net"
        self._addresses = addresses
        self._stats = stats

    def networks(self) -> list[Network]:
        """The networks of every interface that runs, loopback and link-local ones left out."""
        stats = self._stats()
        found = []
        for name, addresses in self._addresses().items():
            # `isup` alone does not notice a pulled cable; the kernel's flag "running" does.
            if name not in stats or "running" not in stats[name].flags.split(","):
                continue
            for address in addresses:
                if address.family in (socket.AF_INET, socket.AF_INET6) and address.netmask:
                    network = _network(address.address, address.netmask)
                    if not network.is_loopback and not network.is_link_local:
                        found.append(network)
        return found

    def has_default_route(self) -> bool:
        """Whether any route leads out of the local networks."""
        return bool(self._gateways()) or any(
            fields[0] == "0" * 32
            and fields[1] == "00"
            and int(fields[8], 16) & RTF_UP
            and not int(fields[8], 16) & RTF_REJECT
            for fields in self._table("ipv6_route")
            if len(fields) >= 10
        )

    def gateway_is_silent(self) -> bool:
        """Whether the kernel asked for a default gateway's hardware address and got no answer (IPv4)."""
        gateways = self._gateways()
        return any(
            fields[0] in gateways and not int(fields[2], 16) & ATF_COMPLETE
            for fields in self._table("arp")
            if len(fields) >= 6 and fields[2].startswith("0x")
        )

    def _gateways(self) -> set[str]:
        return {
            str(
                ipaddress.IPv4Address(bytes.fromhex(fields[2])[::-1])
            )  # little-endian, as the kernel prints it
            for fields in self._table("route")
            if len(fields) >= 8 and fields[1] == fields[7] == "0" * 8 and int(fields[3], 16) & RTF_UP
        }

    def _table(self, name: str) -> Iterator[list[str]]:
        try:
            with (self._net / name).open() as lines:
                yield from [line.split() for line in lines]
        except OSError:
            return  # no such table: no IPv6, or no Linux


FACTS = LinkFacts()


def cause_of(
    error: BaseException,
    host: str | None = None,
    *,
    quality: ClockQuality | None = None,
    facts: LinkFacts = FACTS,
) -> Cause:
    """The cause that an error of an HTTP client stands for; never OK.

    `host` is the cloud's name or address (else the error's own, if it has one); `quality` is the wall clock's.
    """
    cause = _cause_by_itself(error, quality)
    if cause not in (Cause.NO_DNS, Cause.NO_GATEWAY, Cause.NO_ANSWER):
        return cause
    return _cause_below(host or getattr(error, "host", None), facts) or cause


def _cause_below(host: str | None, facts: LinkFacts) -> Cause | None:
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return None
    networks = facts.networks()
    if not networks:
        return Cause.NO_LINK
    if address is not None and any(address in network for network in networks):
        return Cause.NO_ANSWER
    if not facts.has_default_route() or facts.gateway_is_silent():
        return Cause.NO_GATEWAY
    return None


def _cause_by_itself(error: BaseException, quality: ClockQuality | None) -> Cause:
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return _cause_of_certificate(error.certificate_error, quality)
        case aiohttp.ClientConnectorError():
            # TLS errors are ClientConnectorErrors too; what happened stands inside.
            return Cause.NO_DNS if _is_dns(error) else _cause_of_system(error.os_error, quality)
        case aiohttp.ClientResponseError():
            return _cause_of_status(error.status)
        case aiohttp.ServerFingerprintMismatch():
            return Cause.TLS
        case aiohttp.InvalidURL() | aiohttp.RedirectClientError() | BadSignature():
            return Cause.CAPTIVE_PORTAL
        case OSError():
            return _cause_of_system(error, quality)
        case _:
            return Cause.NO_ANSWER


def _is_dns(error: aiohttp.ClientConnectorError) -> bool:
    return isinstance(error, aiohttp.ClientConnectorDNSError) or isinstance(error.os_error, socket.gaierror)


def _cause_of_system(error: BaseException, quality: ClockQuality | None) -> Cause:
    match error:
        case ssl.SSLCertVerificationError():
            return _cause_of_certificate(error, quality)
        case ssl.SSLError() | ssl.CertificateError():
            return Cause.TLS
        case socket.gaierror():
            return Cause.NO_DNS
        case ConnectionRefusedError():
            return Cause.REFUSED
        case OSError(errno=number) if number in NO_WAY:
            return Cause.NO_GATEWAY
        case _:
            return Cause.NO_ANSWER


def _cause_of_certificate(error: Exception, quality: ClockQuality | None) -> Cause:
    """A box without a battery clock boots in the past, where no certificate is valid yet."""
    code = getattr(error, "verify_code", None)
    if (code == NOT_YET_VALID and quality != "synced") or (code == EXPIRED and quality == "unknown"):
        return Cause.CLOCK
    return Cause.TLS


def _cause_of_status(status: int) -> Cause:
    """Of an answer that our cloud would not give in this form, or not at all."""
    if status in (HTTPStatus.NETWORK_AUTHENTICATION_REQUIRED, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED):
        return Cause.CAPTIVE_PORTAL
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return Cause.REFUSED
    return Cause.CLOUD_DOWN if status >= HTTPStatus.INTERNAL_SERVER_ERROR else Cause.CAPTIVE_PORTAL


def _address(host: str | None) -> IpAddress | None:
    try:
        return ipaddress.ip_address(host) if host else None
    except ValueError:
        return None  # a name


def _network(address: str, netmask: str) -> Network:
    plain = ipaddress.ip_address(address.partition("%")[0])
    # psutil writes an IPv6 mask as an address, which ipaddress does not take.
    length = int(ipaddress.ip_address(netmask)).bit_count()
    return ipaddress.ip_network(f"{plain}/{length}", strict=False)

"""What a card tells the first boot of its box: the file `storebox-first-boot.toml` beside the kernel.

`storebox-provision flash` writes it, the image's first boot reads it and takes it away. Each key stands in
docs/PROVISIONING.md; a test holds the two together.
"""

import hashlib
import ipaddress
from typing import Annotated

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from msgspec import Meta

from appliance.domain.enrolling import Pin

FIRST_BOOT_NAME = "storebox-first-boot.toml"
SSID_BYTES_MAX = 32  # IEEE 802.11 9.4.2.2
RSA_BITS_MIN = 3_072
SSH_KINDS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")

# RFC 1123 2.1; one label, at most 63 (RFC 1035 2.3.4).
HostName = Annotated[str, Meta(pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$(?!\n)")]
Psk = Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?$(?!\n)")]
Country = Annotated[str, Meta(pattern=r"^[A-Z]{2}$(?!\n)", description="ISO 3166-1 alpha-2")]
Some = Meta(max_length=8)


class ClaimedBy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`authority`: the box takes claims of the head office with this pin alone."""

    authority: Pin


class Wifi(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A network with a passphrase. Either the key that WPA2 makes of it, or, for WPA3 (SAE), the passphrase itself.

    Without `country` a radio keeps to what is allowed everywhere, which in most places is not what the shop uses.
    """

    ssid: str
    country: Country
    psk: Psk = ""
    passphrase: str = ""
    hidden: bool = False

    def __post_init__(self) -> None:
        if not 1 <= len(self.ssid.encode()) <= SSID_BYTES_MAX or not self.ssid.isprintable():
            raise ValueError(f"an SSID is 1 to {SSID_BYTES_MAX} bytes of text, not {self.ssid!r}")
        if bool(self.psk) == bool(self.passphrase):
            raise ValueError("say either the psk (WPA2) or the passphrase (WPA3)")
        if self.passphrase:
            check_passphrase(self.passphrase)


class Network(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fixed addresses, with their prefix. Of IPv4 and IPv6 the one that has none here stays automatic."""

    addresses: Annotated[list[str], Meta(min_length=1), Some]
    gateways: Annotated[list[str], Some] = []
    dns: Annotated[list[str], Some] = []

    def __post_init__(self) -> None:
        own = [_interface(text) for text in self.addresses]
        for text in self.gateways:
            gateway = ipaddress.ip_address(text)
            if not _reached(gateway, own):
                raise ValueError(f"the gateway {text} is in no network of {', '.join(self.addresses)}")
        if any(interface.version == 4 for interface in own):
            if not any(ipaddress.ip_address(text).version == 4 for text in self.gateways):
                raise ValueError("a fixed IPv4 address needs an IPv4 gateway")
            if not self.dns:
                raise ValueError("a fixed IPv4 address needs a DNS server")
        for text in self.dns:
            ipaddress.ip_address(text)


class Technician(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who may log in by SSH: public keys as in OpenSSH's `.pub` files, without options. No passwords, ever."""

    ssh_keys: Annotated[list[str], Meta(min_length=1), Some]

    def __post_init__(self) -> None:
        for line in self.ssh_keys:
            _check_ssh_key(line)


class FirstBoot(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The whole file; what is left out stays as the image has it: DHCP by cable, no SSH, any head office's claim.

    `network` holds for the Wi-Fi where there is one, else for the cable. With Wi-Fi the cable stays automatic: a
    technician who brings one always gets in.
    """

    hostname: HostName = ""
    claim: ClaimedBy | None = None
    wifi: Wifi | None = None
    network: Network | None = None
    technician: Technician | None = None


def wpa2_psk(ssid: str, passphrase: str) -> str:
    """The key that WPA2 makes of a passphrase, in hexadecimal (IEEE 802.11 J.4). 64 hexadecimal digits are one already.

    Raises ValueError for what is no passphrase.
    """
    if len(passphrase) == 64 and not set(passphrase.lower()) - set("0123456789abcdef"):
        return passphrase.lower()
    check_passphrase(passphrase)
    return hashlib.pbkdf2_hmac("sha1", passphrase.encode(), ssid.encode(), 4_096, 32).hex()


def check_passphrase(passphrase: str) -> None:
    """Raise ValueError unless this is one of WPA's; it is not repeated in the error."""
    if not (8 <= len(passphrase) <= 63 and passphrase.isascii() and passphrase.isprintable()):
        raise ValueError("a Wi-Fi passphrase is 8 to 63 printable ASCII signs")


def _interface(text: str) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
    if "/" not in text:
        raise ValueError(f"{text}: an address is written with its prefix, e.g. 192.168.1.20/24")
    interface = ipaddress.ip_interface(text)
    address, network = interface.ip, interface.network
    if address.is_multicast or address.is_loopback or address.is_unspecified or address.is_link_local:
        raise ValueError(f"{text} is no address for a box")
    ends = (network.network_address, network.broadcast_address)
    # RFC 3021: a network of two has neither, and IPv6 knows none.
    if interface.version == 4 and network.num_addresses > 2 and address in ends:
        raise ValueError(f"{text} is the whole network {network}, not a box in it")
    return interface


def _reached(
    gateway: ipaddress.IPv4Address | ipaddress.IPv6Address,
    own: list[ipaddress.IPv4Interface | ipaddress.IPv6Interface],
) -> bool:
    """Whether a gateway is a neighbour; routers of IPv6 mostly go by their link-local address (RFC 4861 4.2)."""
    return any(
        interface.version == gateway.version
        and gateway != interface.ip
        and (gateway in interface.network or (gateway.version == 6 and gateway.is_link_local))
        for interface in own
    )


def _check_ssh_key(line: str) -> None:
    kind = line.split(" ", 1)[0]
    if not line.isprintable() or kind not in SSH_KINDS:
        raise ValueError(f"an SSH key begins with one of {', '.join(SSH_KINDS)}, not {line[:40]!r}")
    try:
        key = load_ssh_public_key(line.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"{line[:40]!r} is no SSH public key: {error}") from error
    if isinstance(key, RSAPublicKey) and key.key_size < RSA_BITS_MIN:
        raise ValueError(
            f"an RSA key has {RSA_BITS_MIN} bits or more, not {key.key_size}: make an Ed25519 one"
        )

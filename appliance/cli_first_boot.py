"""The command `storebox first-boot`: what a card says is put in its place, and taken off the card.

Run as root by the image's storebox-first-boot.service, before the network. Where things go is the image's business
(docs/IMAGE.md): /etc is read-only there, and leads to /var/etc.
"""

import argparse
import os
import socket
import string
from pathlib import Path

from appliance.domain.errors import ConfigError
from appliance.domain.first_boot import FIRST_BOOT_NAME, FirstBoot, Network, Wifi
from appliance.runtime.files import sync_directory, write_whole
from appliance.runtime.settings import load_settings

CLAIM_NAME = "storebox-claim"
# A claim is one line; FAT has no owner, so anybody may have put anything there.
CLAIM_BYTES_MAX = 16 * 1024
# iwd names a network's file by its SSID, or, with other signs than these in it, by its bytes (iwd.network(5)).
_PLAIN = frozenset(string.ascii_letters + string.digits + "-_ ")


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Make the command known."""
    command = commands.add_parser(
        "first-boot", help="put what the card says in its place (the image runs this at each start)"
    )
    command.add_argument(
        "--from", dest="card", type=Path, required=True, metavar="DIR", help="the card's settings partition"
    )
    command.add_argument("--root", type=Path, default=Path("/"), metavar="DIR", help="of the system (/)")
    command.set_defaults(command=first_boot)


def first_boot(options: argparse.Namespace) -> int:
    """Settings first, then the claim. A file that cannot be used stays where it is, and the other one is used."""
    card, root = options.card, options.root
    failed = 0
    if (card / FIRST_BOOT_NAME).exists():
        try:
            settings = load_settings(card / FIRST_BOOT_NAME, FirstBoot)
        except ConfigError as error:
            print(f"storebox: {error}")
            failed = 1
        else:
            put(settings, root)
            _take_off(card / FIRST_BOOT_NAME)
            if settings.hostname and root == Path("/"):
                socket.sethostname(settings.hostname)
    if (card / CLAIM_NAME).exists():
        state = root / "var/lib/storebox"
        with (card / CLAIM_NAME).open("rb") as file:
            write_whole(state / "claim", file.read(CLAIM_BYTES_MAX))
        owner = state.stat()
        os.chown(state / "claim", owner.st_uid, owner.st_gid)
        _take_off(card / CLAIM_NAME)
    return failed


def put(settings: FirstBoot, root: Path) -> None:
    """Write what the settings say below `root`; each file whole, or as it was."""
    etc = root / "var/etc"
    if settings.hostname:
        _write(etc / "hostname", f"{settings.hostname}\n", 0o644)
    if settings.claim is not None:
        text = (root / "usr/share/storebox/storebox.toml").read_text()
        line = f'[claim]\nauthority = "{settings.claim.authority}"'
        _write(etc / "storebox/storebox.toml", text.replace("[claim]", line, 1), 0o644)
    if settings.wifi is not None:
        _write(etc / "iwd/main.conf", f"[General]\nCountry={settings.wifi.country}\n", 0o644)
        _write(root / "var/lib/iwd" / wifi_file(settings.wifi), wifi_text(settings.wifi), 0o600)
    if settings.network is not None:
        kind = "ether" if settings.wifi is None else "wlan"
        _write(etc / "network/50-storebox.network", network_text(settings.network, kind), 0o644)
    if settings.technician is not None:
        keys = "".join(f"{key}\n" for key in settings.technician.ssh_keys)
        _write(etc / "ssh/authorized_keys", keys, 0o600)


def wifi_file(wifi: Wifi) -> str:
    """The name under which iwd looks for what it knows of a network."""
    plain = set(wifi.ssid) <= _PLAIN
    return f"{wifi.ssid}.psk" if plain else f"={wifi.ssid.encode().hex()}.psk"


def wifi_text(wifi: Wifi) -> str:
    """What iwd must know of a network (iwd.network(5))."""
    # A backslash begins an escape in iwd's files.
    passphrase = wifi.passphrase.replace("\\", "\\\\").replace(" ", "\\s")
    secret = f"PreSharedKey={wifi.psk}" if wifi.psk else f"Passphrase={passphrase}"
    hidden = "[Settings]\nHidden=true\n" if wifi.hidden else ""
    return f"[Security]\n{secret}\n{hidden}"


def network_text(network: Network, kind: str) -> str:
    """A systemd.network(5) file: these addresses, and the family that has none stays automatic."""
    fixed = {6 if ":" in address else 4 for address in network.addresses}
    lines = [f"[Match]\nType={kind}\n", "[Network]"]
    lines.append("DHCP=" + ("no" if fixed == {4, 6} else "ipv6" if fixed == {4} else "ipv4"))
    if 6 in fixed and any(":" in gateway for gateway in network.gateways):
        lines.append("IPv6AcceptRA=no")
    lines += ["LLMNR=no", "MulticastDNS=no"]
    for name, values in (("Address", network.addresses), ("Gateway", network.gateways), ("DNS", network.dns)):
        lines += [f"{name}={value}" for value in values]
    return "\n".join(lines) + "\n"


def _write(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode(), mode=mode)


def _take_off(path: Path) -> None:
    """Remove it for good: what it said is on disk by now, and the card may be stolen later."""
    path.unlink()
    sync_directory(path.parent)

"""The settings that a technician gives a card for its first boot, out of options, the environment and a terminal."""

import argparse
import getpass
import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from appliance.domain.errors import ConfigError
from appliance.domain.first_boot import FirstBoot, wpa2_psk
from appliance.runtime.settings import convert_settings
from provisioning import office

PASSPHRASE = "STOREBOX_WIFI_PASSPHRASE"  # noqa: S105  the name of a variable


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that say how the box joins its shop's network; a passphrase is never one of them."""
    parser.add_argument("--hostname", metavar="NAME", help="what the box is called on the network")
    parser.add_argument("--wifi", metavar="SSID", help="the shop's Wi-Fi; else the box goes by cable")
    parser.add_argument("--wifi-country", metavar="FR", help="where the radio is: two letters")
    parser.add_argument("--wifi-wpa3", action="store_true", help="the Wi-Fi speaks WPA3 alone")
    parser.add_argument("--wifi-hidden", action="store_true", help="the Wi-Fi does not tell its name")
    parser.add_argument(
        "--wifi-passphrase-file",
        metavar="FILE",
        help=f"- is standard input; else {PASSPHRASE} or a question at the terminal",
    )
    for option, text in (
        ("--address", "a fixed address with its prefix, e.g. 192.168.1.20/24; else automatic"),
        ("--gateway", "the router, beside a fixed address"),
        ("--dns", "a DNS server, beside a fixed address"),
    ):
        parser.add_argument(option, action="append", default=[], metavar="ADDRESS", help=text)
    parser.add_argument(
        "--ssh-key",
        action="append",
        type=Path,
        default=[],
        metavar="FILE",
        help="who may log in: a .pub file",
    )


def settings_text(args: argparse.Namespace) -> str:
    """The file for the first boot; empty when nothing is said. Raises ConfigError for what no box would take."""
    if (args.gateway or args.dns) and not args.address:
        raise ConfigError("--gateway and --dns go with a fixed --address")
    table = {
        "hostname": args.hostname,
        "claim": _given(authority=office.known_credentials(args).authority),
        "wifi": _wifi(args),
        "network": _given(addresses=args.address, gateways=args.gateway, dns=args.dns),
        "technician": _given(ssh_keys=[line for path in args.ssh_key for line in _keys(path)]),
    }
    # Judged by the very type that the box reads it with.
    settings = convert_settings(_given(**table), FirstBoot, origin="settings of the first boot")
    return _toml(msgspec.to_builtins(settings))


def _wifi(args: argparse.Namespace) -> dict[str, Any]:
    if args.wifi is None:
        if args.wifi_country or args.wifi_wpa3 or args.wifi_hidden or args.wifi_passphrase_file:
            raise ConfigError("which Wi-Fi? --wifi SSID")
        return {}
    if not args.wifi_country:
        raise ConfigError("--wifi-country is needed: what a radio may do depends on where it is")
    passphrase = _passphrase(args)
    try:
        secret = {"passphrase": passphrase} if args.wifi_wpa3 else {"psk": wpa2_psk(args.wifi, passphrase)}
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return {"ssid": args.wifi, "country": args.wifi_country, **secret, **_given(hidden=args.wifi_hidden)}


def _passphrase(args: argparse.Namespace) -> str:
    """Raises ConfigError when nobody says it."""
    name = args.wifi_passphrase_file
    try:
        if name == "-":
            return sys.stdin.readline().removesuffix("\n")
        if name is not None:
            return Path(name).read_text().removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}: cannot be read") from error
    if PASSPHRASE in os.environ:
        return os.environ[PASSPHRASE]
    if not sys.stdin.isatty():
        raise ConfigError(f"the Wi-Fi's passphrase is needed: --wifi-passphrase-file, or {PASSPHRASE}")
    return getpass.getpass(f"Passphrase of the Wi-Fi {args.wifi}: ")


def _keys(path: Path) -> list[str]:
    """The keys in a `.pub` or `authorized_keys` file."""
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read") from error
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise ConfigError(f"{path} holds no key")
    return keys


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}


def _toml(table: dict[str, Any]) -> str:
    """A table of texts, switches, lists of texts, and tables of these.

    A JSON text without control signs is a TOML one as well (toml.io v1.0.0, "String").
    """
    tables = {name: value for name, value in table.items() if isinstance(value, dict)}
    lines = [
        f"{name} = {msgspec.json.encode(value).decode()}"
        for name, value in table.items()
        if name not in tables
    ]
    for name, inner in tables.items():
        lines += [f"[{name}]", _toml(inner).removesuffix("\n")]
    return "".join(f"{line}\n" for line in lines)

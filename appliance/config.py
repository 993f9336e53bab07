"""The box's configuration: one TOML file. An unknown, missing or bad key stops the daemon and is named.

Every key is documented in docs/CONFIGURATION.md; a test holds the two together.
"""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from appliance.runtime.settings import load_settings

Port = Annotated[int, Meta(ge=0, le=65535)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class Lan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where tills reach the box. Port 0 takes any free one (and mDNS tells which)."""

    host: str = "0.0.0.0"  # noqa: S104  a box serves its shop's LAN
    port: Port = 8480


class Mdns(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the box advertises itself. `interfaces` are addresses of this machine; empty: all but loopback."""

    enabled: bool = True
    interfaces: list[str] = []


class Cloud(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Another address of head office than the one stored at enrolment, e.g. after a move; empty: the stored one."""

    url: str = ""


class Journal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long events stay on the box once the cloud has receipted them, for look-ups and reprints."""

    keep_days: Annotated[int, Meta(ge=1, le=3_650)] = 35


class Disk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Room on the card, in MiB: kept for the worst day, and left free by sales and by downloads."""

    ballast_mib: Annotated[int, Meta(ge=0, le=65_536)] = 64
    floor_mib: Annotated[int, Meta(ge=1, le=65_536)] = 32
    download_floor_mib: Annotated[int, Meta(ge=1, le=65_536)] = 128


class Drain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the journal goes to the cloud."""

    batch_events: Annotated[int, Meta(ge=1, le=500)] = 500
    retry_cap_s: Seconds = 60.0


class Mirror(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often the box looks for catalogue changes without being told of any."""

    poll_s: Seconds = 300.0


class Heartbeat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often the box tells head office how it is, until head office says otherwise."""

    every_s: Seconds = 30.0


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file; only `state`, the directory of everything that the box keeps, has no default."""

    state: Path
    lan: Lan = Lan()
    mdns: Mdns = Mdns()
    cloud: Cloud = Cloud()
    journal: Journal = Journal()
    disk: Disk = Disk()
    drain: Drain = Drain()
    mirror: Mirror = Mirror()
    heartbeat: Heartbeat = Heartbeat()


def load_config(path: Path) -> Config:
    """The configuration in a file. Raises ConfigError that names the file and the key."""
    return load_settings(path, Config)

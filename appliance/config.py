"""The box's configuration: one TOML file. An unknown, missing or bad key stops the daemon and is named.

Every key is documented in docs/CONFIGURATION.md; a test holds the two together.
"""

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from appliance.domain.enrolling import Pin
from appliance.domain.update import BUNDLE_BYTES_MAX, read_window
from appliance.domain.wire import BATCH_EVENTS_MAX
from appliance.runtime.serving import LOOPBACK
from appliance.runtime.settings import load_settings

ANY_V4 = "0.0.0.0"  # noqa: S104  a box serves its shop's LAN
Count = Annotated[int, Meta(ge=1, le=65_536)]
Port = Annotated[int, Meta(ge=0, le=65535)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class Lan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where tills reach the box. Port 0 takes any free one (and mDNS tells which).

    `tls`: the oldest version spoken. "off", plain HTTP, is for one machine alone: a desk, a test, a measurement.
    """

    host: str = "::"
    port: Port = 8480
    tls: Literal["1.3", "1.2", "off"] = "1.3"

    def __post_init__(self) -> None:
        ipaddress.ip_address(self.host)  # a name would leave open where tills find the box
        if self.tls == "off" and self.host not in LOOPBACK:
            raise ValueError(f'tls = "off" needs a host that is loopback, not {self.host!r}')

    @property
    def hosts(self) -> tuple[str, ...]:
        """What to listen on: "::" is every address of both families, where the machine speaks both.

        Beside one address of the LAN loopback is served too: the box's own commands come in there, and nowhere else.
        """
        address = ipaddress.ip_address(self.host)
        if address.is_unspecified:
            return (ANY_V4,) if address.version == 4 else (ANY_V4, self.host)
        if address.is_loopback:
            return (self.host,)
        return (self.host, "127.0.0.1" if address.version == 4 else "::1")

    def reaches(self, address: str) -> bool:
        """Whether what comes to this address of the machine comes to the box."""
        return any(_covers(host, ipaddress.ip_address(address)) for host in self.hosts)


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one caller may take of the box. `per_...`: how many, at once or a second; `..._burst`: saved up."""

    connections_max: Count = 256
    connections_per_address: Count = 32
    handshakes_max: Count = 64
    handshakes_per_address: Count = 8
    handshake_s: Seconds = 5.0
    first_request_s: Seconds = 10.0
    idle_s: Seconds = 75.0
    request_s: Seconds = 60.0
    write_s: Seconds = 30.0
    unpaired_per_s: Count = 10
    unpaired_burst: Count = 30
    per_till_per_s: Count = 200
    per_till_burst: Count = 400
    pairing_per_s: Count = 1
    pairing_burst: Count = 5


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an unclaimed box comes by its claim: from a file, and only of the head office with this pin; empty: any."""

    file: str = ""
    authority: Pin = ""


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
    """Room on the card, in MiB: kept for the worst day, left free by sales and by downloads; and what it may bear."""

    ballast_mib: Annotated[int, Meta(ge=0, le=65_536)] = 64
    floor_mib: Annotated[int, Meta(ge=1, le=65_536)] = 32
    download_floor_mib: Annotated[int, Meta(ge=1, le=65_536)] = 128
    # Ten times what a busy shop writes. A 32 GB card of 500 cycles bears that for 40 years, a bad one for four.
    written_mib_per_day_max: Annotated[int, Meta(ge=1, le=1_048_576)] = 1_024


class Drain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the journal goes to the cloud."""

    batch_events: Annotated[int, Meta(ge=1, le=BATCH_EVENTS_MAX)] = BATCH_EVENTS_MAX
    retry_cap_s: Seconds = 60.0


class Rhythm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long after its tills last did something the shop counts as idle: what is not urgent then rests longer."""

    idle_after_s: Seconds = 600.0


class Mirror(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often the box looks for catalogue changes without being told of any, in an active and in an idle shop."""

    poll_s: Seconds = 300.0
    idle_poll_s: Seconds = 3_600.0


class Heartbeat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often the box tells head office how it is, from an active and from an idle shop."""

    every_s: Seconds = 10.0
    idle_every_s: Seconds = 120.0


class Update(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How updates come: not at all where `system`, the configuration of RAUC, is missing.

    `records`: where the root units tell what they did. `window`: the hours in which the shop may be disturbed, local
    time; empty: whenever nothing was asked of the box for `idle_s`.
    """

    system: Path = Path("/etc/rauc/system.conf")
    records: Path = Path("/var/lib/storebox-update")
    bytes_per_s: Annotated[int, Meta(ge=1_024, le=1_000_000_000)] = 262_144
    bundle_mib_max: Annotated[int, Meta(ge=1, le=BUNDLE_BYTES_MAX // 2**20)] = 1_024
    idle_s: Seconds = 900.0
    window: str = ""
    prove_s: Seconds = 40.0

    def __post_init__(self) -> None:
        read_window(self.window)


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file; only `state`, the directory of everything that the box keeps, has no default."""

    state: Path
    lan: Lan = Lan()
    limits: Limits = Limits()
    claim: Claim = Claim()
    mdns: Mdns = Mdns()
    cloud: Cloud = Cloud()
    journal: Journal = Journal()
    disk: Disk = Disk()
    drain: Drain = Drain()
    rhythm: Rhythm = Rhythm()
    mirror: Mirror = Mirror()
    heartbeat: Heartbeat = Heartbeat()
    update: Update = Update()


def _covers(host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    listening = ipaddress.ip_address(host)
    return address == listening or (listening.is_unspecified and listening.version == address.version)


def load_config(path: Path) -> Config:
    """The configuration in a file. Raises ConfigError that names the file and the key."""
    return load_settings(path, Config)

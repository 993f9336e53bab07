"""What the operator may set, by TOML file or flag. An unknown key stops the program and is named."""

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from appliance.domain.errors import ConfigError
from appliance.runtime.serving import LOOPBACK
from appliance.runtime.settings import load_settings

# A name as certificates and URLs take it (RFC 1123 section 2.1), in ASCII.
_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where head office keeps its data and where it listens."""

    # Database, keys and prepared transfers; readable by this program alone.
    state: Path = Path("/var/lib/storebox-cloud")
    host: str = "127.0.0.1"
    # 0: any free port; the line on standard output tells which.
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8490
    # No box reports itself more often than this; how often it does it says itself, and it is called silent after three.
    heartbeat_s: Annotated[float, Meta(ge=1, le=60)] = 10.0
    # "off", plain HTTP, is for one machine alone, or behind proxies that end TLS.
    tls: Literal["on", "off"] = "on"
    # The names and addresses by which boxes reach it; the first one stands in claims. Empty: the host.
    names: list[str] = []
    # Addresses of those that may tell in `Client-Cert` (RFC 9440) which box asks.
    proxies: list[str] = []
    # What is open to all (enrolment, renewal, the authority), by address: so many a second, so many at once.
    strangers_per_s: Annotated[int, Meta(ge=1, le=65_536)] = 5
    strangers_burst: Annotated[int, Meta(ge=1, le=65_536)] = 60

    def __post_init__(self) -> None:
        if self.tls == "off" and self.host not in LOOPBACK and not self.proxies:
            raise ValueError('tls = "off" needs a host that is loopback, or proxies')
        for proxy in self.proxies:
            ip_address(proxy)
        for name in self.names:
            if not _NAME.fullmatch(name) and not is_address(name):
                raise ValueError(f"names: {name!r} is neither a name nor an address")
        if is_address(self.host) and ip_address(self.host).is_unspecified and not self.names:
            raise ValueError(f"host {self.host} stands for all addresses: say the one of boxes in names")

    @property
    def box_tokens(self) -> bool:
        """Whether boxes have tokens instead of certificates: on one machine alone."""
        return self.tls == "off" and not self.proxies

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.state / "cloud.db"

    @property
    def signing_key(self) -> Path:
        """The key that signs receipts, probe answers and policies."""
        return self.state / "cloud.key"

    @property
    def head_office_token(self) -> Path:
        """The file with head office's own token."""
        return self.state / "head-office.token"

    @property
    def url_file(self) -> Path:
        """The file with the URL at which the daemon listens."""
        return self.state / "url"

    @property
    def transfers(self) -> Path:
        """Catalogue transfers made ready for boxes; can be deleted at any time."""
        return self.state / "transfers"

    @property
    def bundles(self) -> Path:
        """The files of published updates, each under its hash."""
        return self.state / "bundles"


def settings_from(
    file: Path | None, *, state: Path | None, host: str | None, port: int | None, tls: str | None
) -> Settings:
    """The file's settings (or the defaults), with every flag that was given put over them. Raises ConfigError."""
    settings = Settings() if file is None else load_settings(file, Settings)
    given = {"state": state, "host": host, "port": port, "tls": tls}
    try:
        return msgspec.structs.replace(
            settings, **{key: value for key, value in given.items() if value is not None}
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error


def is_address(text: str) -> bool:
    """Whether this is an IP address, and no name."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def url_of(settings: Settings, port: int) -> str:
    """Where boxes reach head office when it listens at this port; a proxy that ends TLS listens at its own, 443."""
    name = (settings.names or [settings.host])[0]
    if settings.tls == "off" and settings.proxies:
        return f"https://[{name}]" if ":" in name else f"https://{name}"
    scheme = "http" if settings.tls == "off" else "https"
    return f"{scheme}://[{name}]:{port}" if ":" in name else f"{scheme}://{name}:{port}"


def known_url(settings: Settings) -> str:
    """The same as the daemon knew it last, or as the settings have it. Raises ConfigError if neither tells. Blocks."""
    try:
        return settings.url_file.read_text()
    except FileNotFoundError as error:
        if settings.port:
            return url_of(settings, settings.port)
        raise ConfigError("port 0: start head office once, so that its address is known") from error

"""What the operator may set, by TOML file or flag. An unknown key stops the program and is named."""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from appliance.runtime.settings import load_settings


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where head office keeps its data and where it listens."""

    # Database, keys and prepared transfers; readable by this program alone.
    state: Path = Path("/var/lib/storebox-cloud")
    host: str = "127.0.0.1"
    # 0: any free port; the line on standard output tells which.
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8490
    # How often boxes shall report themselves; a box is called silent after 90 s.
    heartbeat_s: Annotated[float, Meta(ge=1, le=60)] = 30.0

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
    def transfers(self) -> Path:
        """Catalogue transfers made ready for boxes; can be deleted at any time."""
        return self.state / "transfers"


def settings_from(file: Path | None, *, state: Path | None, host: str | None, port: int | None) -> Settings:
    """The file's settings (or the defaults), with every flag that was given put over them. Raises ConfigError."""
    settings = Settings() if file is None else load_settings(file, Settings)
    given = {"state": state, "host": host, "port": port}
    return msgspec.structs.replace(
        settings, **{key: value for key, value in given.items() if value is not None}
    )

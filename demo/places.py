"""Where the things of a desk are, and what it keeps from start to start."""

from pathlib import Path

import msgspec

from appliance.domain.errors import ConfigError
from appliance.runtime.files import write_whole

SHOP, SHOP_NAME = "S042", "Nantes Centre"
# One till that sells to head office itself and to the box when that fails; one that knows the box alone.
TWO_WAY_TILL, BOX_TILL = "T1", "T2"
TILLS = (TWO_WAY_TILL, BOX_TILL)
# The name under which the desk itself asks the box how it is.
WATCHER = "desk"
LOOPBACK = "127.0.0.1"
ARTICLES_MADE = 500


class Places:
    """Where things are under the desk's directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cloud = root / "cloud"
        self.box = root / "box"
        self.box_config = root / "box.toml"
        self.logs = root / "logs"
        self.memory = root / "desk.json"
        self.lock = root / "lock"

    def till(self, till: str) -> Path:
        """A till's state directory."""
        return self.root / f"till-{till}"

    def log(self, program: str) -> Path:
        """Where a program's standard error goes."""
        return self.logs / f"{program}.log"


class Memory(msgspec.Struct):
    """What the desk keeps from start to start: tokens, and what was set up.

    `tls`: all speak TLS, and tills are paired; then they keep their tokens themselves.
    """

    tls: bool = False
    head_office_token: str = ""
    catalogue: str = ""
    enrolled: bool = False
    box_tokens: dict[str, str] = {}
    cloud_tokens: dict[str, str] = {}


def make(root: Path) -> Places:
    """The directories of a desk. Raises ConfigError when they cannot be made."""
    places = Places(root.absolute())
    try:
        for directory in (places.root, places.logs, places.cloud, places.box):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Tokens and journals stand here: no repository around it should ever pick them up.
        (places.root / ".gitignore").write_text("*\n")
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from error
    return places


def recall(places: Places, *, tls: bool) -> Memory:
    """What was kept; a new memory at the first start. Raises ConfigError for a damaged one, or one of another kind."""
    if not places.memory.exists():
        return Memory(tls=tls)
    try:
        memory = msgspec.json.decode(places.memory.read_bytes(), type=Memory)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{places.memory}: {error}; remove {places.root} to start anew") from error
    if memory.tls != tls:
        kind = "with" if memory.tls else "without"
        raise ConfigError(f"{places.root} was made {kind} TLS: name another --state")
    return memory


def remember(places: Places, memory: Memory) -> None:
    """Keep it for the next start. Blocks."""
    write_whole(places.memory, msgspec.json.encode(memory))

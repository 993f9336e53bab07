"""A whole shop on one desk: head office, the line, the box and two tills, all real programs on loopback.

The first start makes everything under one directory; a later one picks up where the last one stopped. Ports may differ
from start to start: the box is told where head office is now, and the tills find the box by mDNS.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from appliance.domain.errors import ConfigError, StoreboxError
from appliance.runtime.clock import Clock
from appliance.runtime.files import sole_owner, write_whole
from demo.line import Line, open_line
from demo.processes import Child, Hear, Said, command, run_command, start_child

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
    """What the desk keeps from start to start: tokens, and what was set up."""

    head_office_token: str = ""
    catalogue: str = ""
    enrolled: bool = False
    box_tokens: dict[str, str] = {}
    cloud_tokens: dict[str, str] = {}


class Desk:
    """The running desk. Use `open_desk`."""

    def __init__(self, places: Places, memory: Memory, line: Line, cloud_url: str) -> None:
        self._places = places
        self._turn = asyncio.Lock()
        self._box: Child | None = None
        self.memory = memory
        self.line = line
        self.cloud_url = cloud_url
        self.box_url = ""
        self.tills: dict[str, Child] = {}
        self.kills = 0

    @property
    def box_pid(self) -> int | None:
        """The box's process, when it runs."""
        return self._box.pid if self._box is not None and self._box.running else None

    async def start_box(self) -> None:
        """Start the box; ready for tills when this returns. Raises ChildFailed."""
        argv = [command("storebox"), "run", "--config", str(self._places.box_config)]
        self._box = await start_child(argv, log=self._places.log("box"), hear=_ignore)
        self.box_url = await self._box.ready()

    async def kill_box(self) -> None:
        """Take the box's power away (SIGKILL), and give it back; ready again when this returns."""
        async with self._turn:
            assert self._box is not None
            await self._box.kill()
            self.kills += 1
            await self.start_box()

    async def start_till(self, till: str, hear: Hear) -> None:
        """Start a till that takes its steps from us."""
        argv = [command("storebox-till"), "run", "--state", str(self._places.till(till)), "--till", till]
        argv += ["--interface", LOOPBACK, "--lang", "en", "--script", "-"]
        secrets = {"STOREBOX_TILL_TOKEN": self.memory.box_tokens[till]}
        if till == TWO_WAY_TILL:
            argv += ["--cloud", self.line.url]
            secrets["STOREBOX_CLOUD_TOKEN"] = self.memory.cloud_tokens[till]
        log = self._places.log(f"till-{till}")
        self.tills[till] = await start_child(argv, log=log, hear=hear, with_input=True, secrets=secrets)

    async def stop(self) -> None:
        """Stop the tills, then the box; what they have in hand is finished."""
        await asyncio.gather(*(till.stop() for till in self.tills.values()))
        async with self._turn:
            if self._box is not None:
                await self._box.stop()


@asynccontextmanager
async def open_desk(
    root: Path, articles: Path | None, clock: Clock, rng: random.Random
) -> AsyncIterator[Desk]:
    """Head office, line and box, running; tills are started by whoever has work for them.

    Raises ConfigError (the directory is in use or cannot be made), ChildFailed.
    """
    wanted = None if articles is None else _print_of(articles)
    places = _make(root)
    async with AsyncExitStack() as stack:
        stack.enter_context(sole_owner(places.lock))
        memory = _recall(places)
        argv = [command("storebox-cloud"), "run", "--state", str(places.cloud), "--host", LOOPBACK]
        cloud = await start_child(
            [*argv, "--port", "0", "--tls", "off"], log=places.log("cloud"), hear=_ignore
        )
        stack.push_async_callback(cloud.stop)
        cloud_url = await cloud.ready()
        line = await stack.enter_async_context(open_line(_address(cloud_url), clock, rng))
        desk = Desk(places, memory, line, cloud_url)
        stack.push_async_callback(desk.stop)
        await _set_up(places, memory, line.url, articles, wanted)
        await desk.start_box()
        yield desk


async def _set_up(
    places: Places, memory: Memory, cloud_url: str, articles: Path | None, catalogue: str | None
) -> None:
    """Do what no earlier start has done; side by side, since each step is a program of its own."""
    _configure_box(places, cloud_url)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_stock(places, memory, articles, catalogue), name="set-up-catalogue")
            group.create_task(_let_in(places, memory), name="set-up-tokens")
            group.create_task(_join(places, memory), name="set-up-box")
    except* StoreboxError as failures:
        raise failures.exceptions[0] from None
    _remember(places, memory)


async def _stock(places: Places, memory: Memory, articles: Path | None, wanted: str | None) -> None:
    """Publish the file, unless it is the catalogue in force; without a file, a made-up one when there is none."""
    if articles is not None and memory.catalogue != wanted:
        await _office(places, "catalogue", "import", str(articles))
    elif not memory.catalogue:
        await _office(places, "catalogue", "make", "--articles", str(ARTICLES_MADE))
    memory.catalogue = wanted or memory.catalogue or f"made {ARTICLES_MADE}"


async def _let_in(places: Places, memory: Memory) -> None:
    """Tokens for head office's own people, and for the till that sells straight to it."""
    if not memory.head_office_token:
        memory.head_office_token = await _office(places, "admin-token")
    if TWO_WAY_TILL not in memory.cloud_tokens:
        token = await _office(places, "till-token", "--shop", SHOP, "--till", TWO_WAY_TILL)
        memory.cloud_tokens[TWO_WAY_TILL] = token


async def _join(places: Places, memory: Memory) -> None:
    """Enrol the box, and pair the tills with it, one after another: they share one file."""
    if not memory.enrolled:
        claim = await _office(places, "claim", "--shop", SHOP, "--name", SHOP_NAME)
        await _box(places, "enrol", "--claim", claim)
        memory.enrolled = True
    for till in (*TILLS, WATCHER):
        if till not in memory.box_tokens:
            memory.box_tokens[till] = await _box(places, "pair", "--till", till)


async def _office(places: Places, *words: str) -> str:
    group = 2 if words[0] == "catalogue" else 1
    argv = [command("storebox-cloud"), *words[:group], "--state", str(places.cloud), *words[group:]]
    return await run_command(argv, log=places.log("set-up"))


async def _box(places: Places, word: str, *words: str) -> str:
    argv = [command("storebox"), word, "--config", str(places.box_config), *words]
    return await run_command(argv, log=places.log("set-up"))


def _make(root: Path) -> Places:
    places = Places(root.absolute())
    try:
        for directory in (places.root, places.logs, places.cloud, places.box):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Tokens and journals stand here: no repository around it should ever pick them up.
        (places.root / ".gitignore").write_text("*\n")
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from error
    return places


def _recall(places: Places) -> Memory:
    if not places.memory.exists():
        return Memory()
    try:
        return msgspec.json.decode(places.memory.read_bytes(), type=Memory)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{places.memory}: {error}; remove {places.root} to start anew") from error


def _remember(places: Places, memory: Memory) -> None:
    write_whole(places.memory, msgspec.json.encode(memory))


def _configure_box(places: Places, cloud_url: str) -> None:
    def quoted(text: str) -> str:
        return json.dumps(text, ensure_ascii=False)  # a TOML basic string escapes as JSON does

    places.box_config.write_text(
        f"state = {quoted(str(places.box))}\n\n"
        f'[lan]\nhost = "{LOOPBACK}"\nport = 0\ntls = "off"\n\n'
        f'[mdns]\ninterfaces = ["{LOOPBACK}"]\n\n'
        "[disk]\nballast_mib = 1\n\n"
        f"[cloud]\nurl = {quoted(cloud_url)}\n"
    )


def _print_of(file: Path) -> str:
    """What tells one catalogue file from another."""
    try:
        stat = file.stat()
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error
    return f"{file.absolute()} {stat.st_size} {stat.st_mtime_ns}"


def _address(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").rpartition(":")
    return host, int(port)


def _ignore(said: Said) -> None:
    """Box and head office say all they have to say over HTTP."""

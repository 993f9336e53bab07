"""A whole shop on one desk: head office, the line, the box and two tills, all real programs on loopback.

The first start makes everything under one directory; a later one picks up where the last one stopped. Ports may differ
from start to start: the box is told where head office is now, and the tills find the box by mDNS.
"""

import asyncio
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from appliance.domain.errors import ConfigError
from appliance.runtime.clock import Clock
from appliance.runtime.files import sole_owner
from appliance.runtime.tls import client_context, dates_judge
from appliance.runtime.trusted_time import TrustedClock
from demo.books import Door
from demo.line import Line, open_line
from demo.places import LOOPBACK, TWO_WAY_TILL, WATCHER, Memory, Places, make, recall
from demo.processes import Child, Hear, Said, command, start_child
from demo.setting_up import authority_of, pair_tills, paired_with, set_up


class Desk:
    """The running desk. Use `open_desk`."""

    def __init__(
        self,
        places: Places,
        memory: Memory,
        line: Line,
        cloud_url: str,
        cloud_context: ssl.SSLContext | None = None,
    ) -> None:
        """`cloud_context`: how head office is known over TLS."""
        self._places = places
        self._cloud_context = cloud_context
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

    def office(self, token: str) -> Door:
        """Head office, past the line."""
        return Door(self.cloud_url, token, self._cloud_context)

    def box(self) -> Door:
        """The box where it is now, as the desk itself asks it. Reads files. Raises ConfigError before it is paired."""
        if not self.memory.tls:
            return Door(self.box_url, self.memory.box_tokens[WATCHER])
        keys = paired_with(self._places, WATCHER)
        if keys is None:
            raise ConfigError(
                f"the desk is not paired with the box; remove {self._places.root} to start anew"
            )
        return Door(self.box_url, keys.paired.token, keys.context)

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
        secrets = {} if self.memory.tls else {"STOREBOX_TILL_TOKEN": self.memory.box_tokens[till]}
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
    root: Path, articles: Path | None, clock: Clock, rng: random.Random, *, tls: bool = False
) -> AsyncIterator[Desk]:
    """Head office, line and box, running; tills are started by whoever has work for them.

    `tls`: all of them prove themselves by keys, and the tills are paired by codes. Raises ConfigError (the directory is
    in use, cannot be made, or is of the other kind), ChildFailed.
    """
    wanted = None if articles is None else _print_of(articles)
    places = make(root)
    async with AsyncExitStack() as stack:
        stack.enter_context(sole_owner(places.lock))
        memory = recall(places, tls=tls)
        argv = [command("storebox-cloud"), "run", "--state", str(places.cloud), "--host", LOOPBACK]
        argv += ["--port", "0", "--tls", "on" if tls else "off"]
        cloud = await start_child(argv, log=places.log("cloud"), hear=_ignore)
        stack.push_async_callback(cloud.stop)
        cloud_url = await cloud.ready()
        scheme, _, address = cloud_url.partition("://")
        line = await stack.enter_async_context(open_line(_place(address), clock, rng, scheme=scheme))
        context = None
        if tls:
            judge = dates_judge(TrustedClock(clock, None))
            context = client_context(authority=await authority_of(places), judge=judge, identity=None)
        desk = Desk(places, memory, line, cloud_url, context)
        stack.push_async_callback(desk.stop)
        await set_up(places, memory, line.url, articles, wanted)
        await desk.start_box()
        if tls:
            await pair_tills(places)
        yield desk


def _print_of(file: Path) -> str:
    """What tells one catalogue file from another."""
    try:
        stat = file.stat()
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error
    return f"{file.absolute()} {stat.st_size} {stat.st_mtime_ns}"


def _place(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def _ignore(said: Said) -> None:
    """Box and head office say all they have to say over HTTP."""

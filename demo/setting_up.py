"""What a desk's first start does with the real commands, and a later one only where it is missing."""

import asyncio
import json
from pathlib import Path

from appliance.domain.errors import StoreboxError
from demo.places import (
    ARTICLES_MADE,
    LOOPBACK,
    SHOP,
    SHOP_NAME,
    TILLS,
    TWO_WAY_TILL,
    WATCHER,
    Memory,
    Places,
    remember,
)
from demo.processes import command, run_command
from till.identity import TillKeys


async def set_up(
    places: Places, memory: Memory, cloud_url: str, articles: Path | None, catalogue: str | None
) -> None:
    """Do what no earlier start has done; side by side, since each step is a program of its own."""
    _configure_box(places, cloud_url, tls=memory.tls)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_stock(places, memory, articles, catalogue), name="set-up-catalogue")
            group.create_task(_let_in(places, memory), name="set-up-tokens")
            group.create_task(_join(places, memory), name="set-up-box")
    except* StoreboxError as failures:
        raise failures.exceptions[0] from None
    remember(places, memory)


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
    """Enrol the box; and without TLS give the tills their tokens, one after another: they share one file."""
    if not memory.enrolled:
        claim = await _office(places, "claim", "--shop", SHOP, "--name", SHOP_NAME)
        await _box(places, "enrol", "--claim", claim)
        memory.enrolled = True
    for till in () if memory.tls else (*TILLS, WATCHER):
        if till not in memory.box_tokens:
            memory.box_tokens[till] = await _box(places, "pair", "--till", till)


async def pair_tills(places: Places) -> None:
    """Let every till scan a code of the running box; one that is paired already needs none."""
    for till in (*TILLS, WATCHER):
        if paired_with(places, till) is None:
            opened = await _box(places, "pairing", "open", "--json")
            argv = [command("storebox-till"), "pair", "--state", str(places.till(till)), "--till", till]
            argv += ["--interface", LOOPBACK, "-"]
            code = str(json.loads(opened)["payload"])
            await run_command(argv, log=places.log("set-up"), given=code.encode())


def paired_with(places: Places, till: str) -> TillKeys | None:
    """A till's key and its pairing; None before there is one. Blocks. Raises ConfigError for a damaged one."""
    keys = TillKeys(places.till(till))
    keys.load()
    return None if keys.pairing is None else keys


async def authority_of(places: Places) -> str:
    """The root (PEM) by which head office is known."""
    return await _office(places, "authority", "show", "--pem")


async def _office(places: Places, *words: str) -> str:
    group = 2 if words[0] in ("catalogue", "authority") else 1
    argv = [command("storebox-cloud"), *words[:group], "--state", str(places.cloud), *words[group:]]
    return await run_command(argv, log=places.log("set-up"))


async def _box(places: Places, *words: str) -> str:
    group = 2 if words[0] == "pairing" else 1
    argv = [command("storebox"), *words[:group], "--config", str(places.box_config), *words[group:]]
    return await run_command(argv, log=places.log("set-up"))


def _configure_box(places: Places, cloud_url: str, *, tls: bool) -> None:
    def quoted(text: str) -> str:
        return json.dumps(text, ensure_ascii=False)  # a TOML basic string escapes as JSON does

    plain = 'tls = "off"\n'
    places.box_config.write_text(
        f"state = {quoted(str(places.box))}\n\n"
        f'[lan]\nhost = "{LOOPBACK}"\nport = 0\n{"" if tls else plain}\n'
        f'[mdns]\ninterfaces = ["{LOOPBACK}"]\n\n'
        "[disk]\nballast_mib = 1\n\n"
        f"[cloud]\nurl = {quoted(cloud_url)}\n"
    )

"""Commands that only look: boxes on the LAN, the box's status, the copies that a till keeps."""

import asyncio
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from appliance.domain.errors import ConfigError
from appliance.domain.wire import Status
from appliance.runtime.clock import SystemClock
from appliance.runtime.tls import unverified_context
from till.box import hello
from till.copy import Copy, State, read_copies, read_counts
from till.discovery import Found, search
from till.errors import NoAnswer, NotOurBox, Refused
from till.options import Options
from till.peer import open_session
from till.pin import identity_of
from till.report import Line, Untrusted
from till.run import nothing_open
from till.whereabouts import open_whereabouts
from till.wiring import COPIES_FILE


class Seen(Found, frozen=True):
    """A box on the LAN, and whether it answers under the key that it announced ("ok", or why not)."""

    hello: str = ""


class View(msgspec.Struct, frozen=True):
    """What `status` prints."""

    till: str
    pinned: str | None
    copies: dict[str, int]
    box: Status | None
    problem: str | None


async def discover(seconds: float, interfaces: Sequence[str], *, as_json: bool) -> bool:
    """Print every box that announces itself. Returns whether one did. Raises ConfigError for a foreign interface."""
    try:
        boxes = await search(seconds, interfaces)
    except OSError as error:
        raise ConfigError(f"cannot search on {', '.join(interfaces) or 'this network'}: {error}") from error
    for found in boxes:
        seen = Seen(**msgspec.structs.asdict(found), hello=await _greet(found))
        _print(seen) if as_json else sys.stdout.write(_in_words(seen))
    if not boxes:
        sys.stderr.write(f"no box announced itself within {seconds:g} s\n")
    return bool(boxes)


async def status(options: Options) -> bool:
    """Print how the till and its box are. Returns whether the box answers and nothing is unsent or refused."""
    counts = {str(state): n for state, n in (await asyncio.to_thread(_counts, options.state)).items()}
    problems: list[str] = []

    def heard(line: Line) -> None:
        if isinstance(line, Untrusted):
            problems.append(line.reason)

    async with open_whereabouts(options, heard, SystemClock()) as here:
        met = await here.places.find(None, here.prove)
    problem = None if met is not None else (problems or ["no box was found"])[-1]
    _print(View(options.till_id, here.known, counts, None if met is None else met.status, problem))
    return met is not None and nothing_open(counts)


def copies(state_directory: Path, state: State | None) -> bool:
    """Print the copies, one a line. Returns whether none of them is unsent or refused."""
    path = state_directory / COPIES_FILE
    if not path.exists():
        raise ConfigError(f"{state_directory}: no till keeps its copies here")
    found = read_copies(path, state)
    for copy in found:
        _print(_plain(copy))
    return not any(copy.state in ("pending", "refused") for copy in found)


def _counts(state_directory: Path) -> dict[State, int]:
    path = state_directory / COPIES_FILE
    try:
        return read_counts(path) if path.exists() else {}
    except sqlite3.DatabaseError as error:
        raise ConfigError(f"{path}: {error}") from error


async def _greet(found: Found) -> str:
    reason = "no address"
    # A till that is looking around believes nobody: what it sees here is shown, not used.
    context = unverified_context() if found.tls else None
    async with open_session(None) as session:
        for url in found.urls:
            try:
                identity = identity_of(await hello(session, url, context))
            except (NoAnswer, NotOurBox, Refused) as error:
                reason = str(error)
                continue
            return (
                "ok" if (identity.box, identity.fp) == (found.box, found.fp) else "answers under another key"
            )
    return reason


def _plain(copy: Copy) -> dict[str, Any]:
    row = msgspec.structs.asdict(copy)
    return {**row, "body": msgspec.Raw(copy.body)}


def _in_words(seen: Seen) -> str:
    where = ", ".join(seen.urls)
    return (
        f"{seen.name}\n  shop {seen.shop}, {seen.state}, {where}\n  {seen.box}, key {seen.fp}: {seen.hello}\n"
    )


def _print(value: Any) -> None:
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()

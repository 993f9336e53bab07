"""Commands by which a till comes to know its box, and finds it again."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from appliance.domain.errors import ConfigError
from appliance.domain.pairing import Invitation
from appliance.runtime.clock import Clock
from till.identity import TillKeys
from till.options import Options
from till.pairing import pair_by_code
from till.peer import open_session
from till.report import Connected, Paired, to_stdout
from till.whereabouts import open_whereabouts

# A QR code holds 1,024 characters at most; what is longer is no code.
_CODE_BYTES_MAX = 4_096


def read_code(word: str | None, file: str | None) -> str:
    """The text of a code: the word itself, or the content of a file; - is standard input. Raises ConfigError."""
    if (word is None) == (file is None):
        raise ConfigError("say the code once: as a word, or --file FILE; - is standard input")
    if word is not None and word != "-":
        return word
    if word == "-" or file == "-":
        return sys.stdin.read(_CODE_BYTES_MAX)
    assert file is not None
    try:
        with Path(file).open(encoding="ascii") as opened:
            return opened.read(_CODE_BYTES_MAX)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {error}") from error


async def pair(
    state: Path, till: str, name: str, invitation: Invitation, interfaces: Sequence[str], clock: Clock
) -> bool:
    """Pair, then meet the box under the new pairing. Returns whether it was met. Raises what pairing raises."""
    keys = TillKeys(state)
    await asyncio.to_thread(keys.load)
    async with open_session(None) as session:
        pairing = await pair_by_code(session, keys, invitation, till, name=name, interfaces=interfaces)
    to_stdout(Paired(pairing.till, pairing.box, pairing.shop))
    return await locate(Options(state=state, till_id=till, interfaces=interfaces), clock)


async def locate(options: Options, clock: Clock) -> bool:
    """Look for the box once, telling each step. Returns whether it proved itself."""
    async with open_whereabouts(options, to_stdout, clock) as here:
        met = await here.places.find(None, here.prove)
    if met is not None:
        to_stdout(Connected(met.box.identity.box, met.box.base))
    return met is not None

"""Open the journal whatever the card made of it: one that is damaged is set aside, never deleted, and a new one begun.

The new one begins with an epoch above every one that the head file or the damaged file itself names, so nothing that
is sold from now on can stand at a place that was used before. What the old file holds is for `storebox rescue`.
"""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from appliance.domain.canonical import canonical
from appliance.domain.errors import BadSignature, ChainFault, StorageFault
from appliance.runtime.files import sync_directory, write_whole
from appliance.storage.commit import Sealer
from appliance.storage.headfile import HeadFile
from appliance.storage.journal import Journal, open_journal
from appliance.storage.salvage import last_epoch_in

log = logging.getLogger(__name__)

_SIDES = ("", "-wal", "-shm")
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Mark(msgspec.Struct, frozen=True):
    """What the mark beside a damaged journal says: under which number it goes aside, and why."""

    number: int
    why: str


def mark_damaged(path: Path, why: str) -> Mark:
    """Have a journal set aside at the next start; on disk when this returns. Blocks. Raises OSError."""
    mark = Mark(max(numbers_aside(path), default=0) + 1, why)
    write_whole(_mark_of(path), canonical(mark))
    return mark


def numbers_aside(path: Path) -> list[int]:
    """The numbers of the journals that were set aside and are still there, as `journal.db.aside-<number>`. Blocks."""
    begin, names = f"{path.name}.aside-", (file.name for file in path.parent.iterdir())
    ends = (name.removeprefix(begin) for name in names if name.startswith(begin))
    return sorted(int(end) for end in ends if end.isascii() and end.isdecimal())


@asynccontextmanager
async def open_or_set_aside(
    path: Path, sealer: Sealer, head_file: HeadFile, *, gets_on: Callable[[], None] = lambda: None
) -> AsyncIterator[Journal]:
    """The journal of this box; a new one, and the damaged one aside, when it cannot be proven.

    A damaged one is read to its end first; `gets_on` is called all the while, on another thread.
    Raises StorageFault (the disk does not let us), SchemaTooNew, OSError.
    """
    async with AsyncExitStack() as stack:
        mark = await asyncio.to_thread(_read_mark, path)
        if mark is None:
            try:
                journal = await _open(stack, path, sealer, head_file, gets_on)
            except (StorageFault, ChainFault, BadSignature, sqlite3.Error) as error:
                if not is_damage(error):
                    raise
                await stack.aclose()
                mark = await asyncio.to_thread(mark_damaged, path, str(error))
                journal = await _open_anew(stack, path, sealer, head_file, gets_on, mark)
        else:
            journal = await _open_anew(stack, path, sealer, head_file, gets_on, mark)
        yield journal


def is_damage(error: BaseException | None) -> bool:
    """Whether an error says that the file's content is wrong, and not that the disk would not give it."""
    while error is not None:
        if isinstance(error, ChainFault | BadSignature):
            return True
        if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE:
            return True
        error = error.__cause__
    return False


async def _open_anew(
    stack: AsyncExitStack,
    path: Path,
    sealer: Sealer,
    head_file: HeadFile,
    gets_on: Callable[[], None],
    mark: Mark,
) -> Journal:
    aside = await asyncio.to_thread(_set_aside, path, mark)
    log.error("journal.set_aside", extra={"file": aside.name, "why": mark.why})
    journal = await _open(stack, path, sealer, head_file, gets_on)
    await journal.record("journal_set_aside", {"file": aside.name, "why": mark.why})
    return journal


async def _open(
    stack: AsyncExitStack, path: Path, sealer: Sealer, head_file: HeadFile, gets_on: Callable[[], None]
) -> Journal:
    epoch, opening = await asyncio.to_thread(_beginning, path, head_file, gets_on)
    return await stack.enter_async_context(open_journal(path, sealer, first_epoch=epoch, opening=opening))


def _beginning(path: Path, head_file: HeadFile, gets_on: Callable[[], None]) -> tuple[int, str]:
    """The epoch that a new journal would begin with, and why it would be new."""
    known = head_file.read()
    used, opening = (0, "enrolment") if known is None else (known.epoch, "journal-missing")
    numbers = [] if path.exists() else numbers_aside(path)
    if not numbers:
        return used + 1, opening
    # Rows name their places, also in pages that SQLite cannot reach any more.
    named = (last_epoch_in(path.with_name(f"{path.name}.aside-{number}"), gets_on) for number in numbers)
    return max(used, 1, *named) + 1, "journal-set-aside"


def _mark_of(path: Path) -> Path:
    return path.with_name(path.name + ".damaged")


def _read_mark(path: Path) -> Mark | None:
    try:
        return msgspec.json.decode(_mark_of(path).read_bytes(), type=Mark)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError:
        return mark_damaged(path, "a mark that cannot be read says so")


def _set_aside(path: Path, mark: Mark) -> Path:
    """Rename all of it. Cut anywhere, the next start goes on under the same number: the mark goes last."""
    aside = path.with_name(f"{path.name}.aside-{mark.number}")
    for side in _SIDES:
        source = path.with_name(path.name + side)
        if source.exists():
            source.replace(aside.with_name(aside.name + side))
    sync_directory(path.parent)
    _mark_of(path).unlink()
    sync_directory(path.parent)
    return aside

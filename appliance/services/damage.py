"""A journal whose pages turn out to be damaged while it is in use: end this process, so that the next one sells on.

Other storage faults (a disk that turned read-only, an fsync that failed) keep the process up, refusing sales and
saying why: a restart would trust what a page cache pretends. Wrong content is different: the file is set aside at the
next start, and selling goes on in a new epoch (storage/set_aside.py).
"""

import asyncio
import contextlib
from pathlib import Path

from appliance.runtime.supervision import MustRestart
from appliance.storage.journal import Journal
from appliance.storage.set_aside import mark_damaged


async def end_when_damaged(journal: Journal, path: Path) -> None:
    """Wait for damage, mark the file to be set aside, and raise MustRestart."""
    why = await journal.damaged()
    with contextlib.suppress(OSError):  # without the mark, the proof at start has to find it
        await asyncio.to_thread(mark_damaged, path, why)
    raise MustRestart(f"the journal is damaged and is set aside at the next start: {why}")

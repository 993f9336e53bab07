"""Know a rolled-back or cloned card: compare the journal with what was known of it outside of it.

Three witnesses, each weaker where the next is strong. The *head file* beside the journal is there without any line,
and catches a journal that was put back or lost its tail; a restored card brings it back too. The *cloud* knows every
event that it gave a receipt for: a fork, or a receipt for what is not here, is found at the first exchange. Each
*till* keeps the last signed head that it was acked with, shows it whenever it meets the box, and brings again what
the box no longer knows.

So the head file need not be exact, and is written only after checkpoints and at start and stop: two more fsyncs for
many sales instead of for each one. What the last minutes may lack in it, tills have in their hands.
"""

import asyncio
import logging
from collections.abc import Callable

from appliance.domain.statements import Head
from appliance.domain.wire import WitnessAnswer
from appliance.storage.headfile import HeadFile
from appliance.storage.journal import Journal

log = logging.getLogger(__name__)


class Witness:
    """Looks at the head file once at start, and keeps it up from then on.

    `rolled_back` says what the journal lacks, or None. While it does the file stays as it is: the next start must
    find it again, also what only a till knew, so a till's head goes into it. Only a new epoch ends this.
    """

    def __init__(self, journal: Journal, file: HeadFile) -> None:
        self._journal = journal
        self._file = file
        self._known: Head | None = None
        self._listeners: list[Callable[[str], None]] = []
        self.rolled_back: str | None = None

    def listen(self, listener: Callable[[str], None]) -> None:
        """Have a function called, which must not wait, when a till shows that the journal lacks something."""
        self._listeners.append(listener)

    async def look(self) -> None:
        """Compare; what is found is named in the log, in the chain, and by `rolled_back`. Raises CannotAccept."""
        known = await asyncio.to_thread(self._file.read)
        why = _missing(self._journal, known, "the head file")
        if why is not None and known is not None:
            await self._found(why, known, "head-file", None)

    async def hear(self, envelope: bytes, till: str) -> WitnessAnswer:
        """A till shows a head that this box signed; whether the journal holds it. Telling it twice changes nothing.

        Raises BadSignature (not of this box), CannotAccept.
        """
        head = self._file.verified(envelope)
        why = _missing(self._journal, head, f"till {till}")
        if why is not None and (self._known is None or head.position > self._known.position):
            first, self.rolled_back, self._known = self.rolled_back is None, why, head
            for listener in self._listeners:
                listener(why)
            await self._write(envelope)
            if first:
                await self._found(why, head, "till", till)
        end = self._journal.end
        return WitnessAnswer(why is not None, end.epoch, end.seq, end.head.hex())

    async def _found(self, why: str, known: Head, by: str, till: str | None) -> None:
        self.rolled_back, self._known = why, known
        log.error("journal.rolled_back", extra={"why": why})
        data = {"by": by, "epoch": known.epoch, "seq": known.seq, "head": known.head}
        await self._journal.record("rollback_found", data, till=till)

    async def run(self) -> None:
        """Keep the file up, for ever."""
        while True:
            await self.keep()
            await self._journal.checkpointed()

    async def keep(self) -> None:
        """Write the journal's last signed head into the file, unless the journal is behind it."""
        envelope = self._journal.signed_head()
        if self.rolled_back is None and envelope is not None:
            await self._write(envelope)

    async def _write(self, envelope: bytes) -> None:
        try:
            await asyncio.to_thread(self._file.write, envelope)
        except OSError as error:
            # A witness, not the journal: selling does not hang on it, and the next one says more.
            log.warning("head_file.unwritten", extra={"why": str(error)})


async def open_epoch(journal: Journal, file: HeadFile, reason: str) -> int:
    """Begin an epoch above every one that is known here; its number. For a journal that nobody sells into.

    The first event says why, where the epoch before ends here, and what the head file knew of it.
    """
    known = await asyncio.to_thread(file.read)
    end = journal.end
    epoch = max(end.epoch, known.epoch if known else 0) + 1
    data = {
        "reason": reason,
        "previous": {"epoch": end.epoch, "seq": end.seq, "head": end.head.hex()},
        "known": None if known is None else {"epoch": known.epoch, "seq": known.seq, "head": known.head},
    }
    await journal.open_epoch(epoch, data)
    await Witness(journal, file).keep()
    return epoch


def _missing(journal: Journal, known: Head | None, who: str) -> str | None:
    end = journal.end
    # An epoch after the known one was opened by a technician, who was shown what was missing.
    if known is None or known.epoch < end.epoch:
        return None
    place = f"{known.epoch}/{known.seq}"
    if (known.epoch, known.seq) > (end.epoch, end.seq):
        return f"{who} knows {place}, the journal ends at {end.epoch}/{end.seq}"
    here = journal.hash_at(known.epoch, known.seq)
    if here is not None and here.hex() != known.head:  # None: pruned, long after it was receipted
        return f"the journal holds another event at {place} than {who} knows"
    return None

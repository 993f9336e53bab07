"""The paired tills, for a technician: list, rename, revoke; and told to head office, for a successor of this box."""

import asyncio
import logging

from appliance.domain.errors import CloudError, NotFound
from appliance.domain.link import LinkState
from appliance.domain.pairing import TillRecord, TillRow, TillView
from appliance.runtime.clock import Clock
from appliance.runtime.pause import pause
from appliance.services.ports import IdentityCloud, Recorder, Tills
from appliance.services.presence import CONSOLE, Presence
from appliance.services.wan import WanWatch

log = logging.getLogger(__name__)

# Head office could not take it: not urgent, since a successor is a matter of days.
RETRY_S = 60.0


class TillDesk:
    """What a technician does with tills. Each change is on disk, and in the chain, when it returns."""

    def __init__(self, tills: Tills, presence: Presence, journal: Recorder) -> None:
        self._tills = tills
        self._presence = presence
        self._journal = journal
        self.changed = asyncio.Event()

    def views(self) -> list[TillView]:
        """All of them, also those that were inherited and have not come yet."""
        return [self._view(row) for row in self._rows()]

    def count(self) -> int:
        """How many."""
        return len(self._rows())

    def records(self) -> list[TillRecord]:
        """Those with a key of their own, as head office keeps them."""
        return [TillRecord(row.till, row.name, row.spki) for row in self._rows() if row.spki]

    async def rename(self, till: str, name: str) -> TillView:
        """Give a till another name for people. Raises NotFound."""
        self._known(till)
        await self._journal.record("till_renamed", {"name": name}, till=till)
        await self._tills.rename(till, name)
        self.changed.set()
        return self._view(self._known(till))

    async def revoke(self, till: str) -> None:
        """Let a till in no more, from its next request on. Raises NotFound."""
        row = self._known(till)
        await self._tills.remove(till)
        self.changed.set()
        log.info("till.revoked", extra={"till": till})
        await self._journal.record("till_revoked", {"name": row.name}, till=till)

    def _rows(self) -> list[TillRow]:
        return [row for row in self._tills.rows() if row.till != CONSOLE]

    def _known(self, till: str) -> TillRow:
        row = next((row for row in self._rows() if row.till == till), None)
        if row is None:
            raise NotFound("no such till is paired")
        return row

    def _view(self, row: TillRow) -> TillView:
        return TillView(row.till, row.name, row.paired_at, row.by, self._presence.seen_s(row.till))


class TillReporter:
    """Keeps head office's list of this box's tills as it is here."""

    def __init__(self, cloud: IdentityCloud, desk: TillDesk, wan: WanWatch, clock: Clock) -> None:
        self._cloud = cloud
        self._desk = desk
        self._wan = wan
        self._clock = clock
        self._told: list[TillRecord] | None = None

    async def run(self) -> None:
        """Tell it at start and after each change, for ever, as soon as the line is there."""
        while True:
            while self._wan.link.state is LinkState.OFFLINE:
                await self._wan.changed()
            self._desk.changed.clear()
            await self.step()
            if self._told == self._desk.records():
                await self._desk.changed.wait()
            else:
                await pause(self._clock, RETRY_S, self._desk.changed)

    async def step(self) -> None:
        """Tell it once, if it has changed; a cloud that cannot be reached or refuses is no error here."""
        records = self._desk.records()
        if records == self._told:
            return
        try:
            await self._cloud.keep_tills(records)
            self._told = records
        except CloudError as error:
            log.info("tills.untold", extra={"code": error.code, "why": str(error)})

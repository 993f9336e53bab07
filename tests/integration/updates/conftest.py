"""A box that is offered an update: what survives a restart of the daemon, and what the shop does meanwhile."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from appliance.domain.errors import DiskFull
from appliance.domain.update import Attempt, Outcome, Request, read_window
from appliance.services.handover import Handover, Manners
from appliance.services.updates import (
    PIECE_BYTES,
    Bounds,
    Machine,
    Updates,
)
from appliance.storage.update_files import UpdateFiles, UpdateRecords
from tests.fakes.clock import FakeClock
from tests.fakes.notes import Notes
from tests.fakes.tasks import running_task
from tests.fakes.updates import BUNDLE, FakeUpdates

PIECES = len(BUNDLE) // PIECE_BYTES
IDLE_S = 900.0


class Box:
    """What survives a restart of the daemon, and what the shop does meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.files, self.records = UpdateFiles(folder / "update"), UpdateRecords(folder / "records")
        (folder / "records").mkdir()
        self.cloud, self.notes, self.clock = FakeUpdates(), Notes(), FakeClock()
        self.quiet_s, self.room = 0.0, True
        self.window = ""
        self.updates = self.started()

    def started(self) -> Updates:
        """A new process."""
        return Updates(
            Machine("0.1.0", "storebox-amd64"),
            self.cloud,
            self.cloud.keys,
            self.files,
            self.records,
            self.notes,
            self.clock,
            random.Random(1),
            Bounds(PIECE_BYTES, 2**30),
            Handover(
                self.files,
                self.records,
                self.clock,
                Manners(IDLE_S, read_window(self.window)),
                lambda: self.quiet_s,
            ),
            lambda: self.quiet_s,
            self._admit,
        )

    def _admit(self, more_bytes: int) -> None:
        if not self.room:
            raise DiskFull("full")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self.updates = self.started()
        async with running_task(self.updates.run()):
            yield

    async def until(self, state: str, **within: float) -> None:
        await self.clock.run_until(lambda: self.updates.view().state == state, **within)

    async def fetch(self) -> None:
        """Run until the whole bundle is here."""
        async with self.running():
            self.updates.nudge(self.cloud.offered.number)
            await self.until("fetched")

    async def requested(self) -> Request | None:
        return await asyncio.to_thread(self.files.request)

    async def end(self, outcome: Outcome) -> None:
        """The root units say what became of it."""
        await asyncio.to_thread(self.records.end, outcome)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """A root unit is at it, and has taken up what it was asked; to the kernel its end is that of a killed one."""
        work = self.records.working()
        await asyncio.to_thread(work.__enter__)
        try:
            await asyncio.to_thread(self.files.take_request)
            yield
        finally:
            await asyncio.to_thread(work.__exit__, None, None, None)

    async def attempt(self, phase: Any, *, boot: str = "boot-1", number: int = 1) -> None:
        """The root units say how far they are."""
        offer = self.cloud.offered
        attempt = Attempt(number, offer.version, offer.sha256, "0.1.0", "B", boot, phase)
        await asyncio.to_thread(self.records.begin, attempt)


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)

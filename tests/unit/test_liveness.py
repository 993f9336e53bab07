"""When systemd hears that the box lives, and when it must not."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from appliance.domain.errors import StorageFault
from appliance.runtime.ballast import Ballast
from appliance.runtime.one_thread import OneThread
from appliance.services.disk import LOOK_EVERY_S, DiskWatch, Floors
from appliance.services.liveness import EVERY_S, LATE_MAX_S, Liveness
from appliance.storage.journal import Journal
from tests.fakes.clock import FakeClock
from tests.fakes.journals import a_journal
from tests.fakes.tasks import until

SIGN = "WATCHDOG=1"


async def watching(
    folder: Path, clock: FakeClock, told: list[str], meanwhile: Callable[[Journal], Awaitable[None]]
) -> None:
    """Run a disk watch that tells of its looks, and beside it what the test does with its journal."""
    async with a_journal(folder) as journal:
        watch = DiskWatch(
            journal,
            folder / "journal.db",
            Ballast(folder / "ballast", 0),
            Floors(2, 1),
            clock,
            Liveness(told.append).looked,
        )
        task = asyncio.create_task(watch.run())
        await until(lambda: told)
        await meanwhile(journal)
        task.cancel()


async def test_a_box_that_works_gives_a_sign_at_each_look(tmp_path: Path) -> None:
    clock, told = FakeClock(), list[str]()

    async def three_looks(_journal: Journal) -> None:
        await clock.advance(3 * LOOK_EVERY_S)

    await watching(tmp_path, clock, told, three_looks)

    assert told == [SIGN] * 4


async def test_no_sign_comes_while_the_journals_thread_is_stuck(tmp_path: Path) -> None:
    clock, told, unstuck = FakeClock(), list[str](), threading.Event()

    async def stuck(journal: Journal) -> None:
        thread = journal._writer._executor
        assert isinstance(thread, OneThread)
        thread.submit(unstuck.wait)  # as an fsync that does not come back
        passing = asyncio.create_task(clock.advance(LOOK_EVERY_S))
        await until(lambda: thread._jobs.qsize() == 1)  # the look stands behind it
        assert told == [SIGN]
        unstuck.set()
        await passing
        assert told == [SIGN] * 2

    await watching(tmp_path, clock, told, stuck)


async def test_a_journal_that_refuses_all_work_is_no_reason_to_die(tmp_path: Path) -> None:
    clock, told = FakeClock(), list[str]()

    async def failed(journal: Journal) -> None:
        journal._writer._fault = "disk I/O error"
        with pytest.raises(StorageFault):
            await journal.record("started", {})
        await clock.advance(LOOK_EVERY_S)

    await watching(tmp_path, clock, told, failed)

    assert told == [SIGN] * 2


def test_a_loop_that_turns_too_slowly_gives_none() -> None:
    told = list[str]()
    liveness = Liveness(told.append)

    liveness.looked(LATE_MAX_S + 0.001)
    assert told == []
    liveness.looked(LATE_MAX_S)
    liveness.looked(-9.0)  # somebody made it look sooner
    assert told == [SIGN] * 2


async def test_an_unclaimed_box_gives_a_sign_as_well() -> None:
    clock, told = FakeClock(), list[str]()
    task = asyncio.create_task(Liveness(told.append).turn(clock))

    await clock.advance(3 * EVERY_S)

    assert told == [SIGN] * 3
    task.cancel()

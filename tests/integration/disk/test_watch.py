"""The room on the card: what stops first, what is given back, and how it all comes again by itself."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from appliance.domain.errors import DiskFull
from appliance.runtime.ballast import Ballast
from appliance.services.disk import LOOK_EVERY_S, DiskWatch, Floors, make_room_to_start
from appliance.services.feed import Feed
from appliance.services.mirror import MirrorKeeper
from appliance.storage import journal_tables as tables
from appliance.storage.commit import Draft
from appliance.storage.journal import Journal
from appliance.storage.mirror import open_mirror
from tests.fakes.catalogue import an_article
from tests.fakes.clock import FakeClock
from tests.fakes.cloud import FakeCloud
from tests.fakes.journals import a_journal
from tests.fakes.notes import Notes
from tests.fakes.tasks import until

KIB = 1024
FLOORS = Floors(download=300 * KIB, sales=100 * KIB)
BALLAST = 200 * KIB


class SmallDisk(Ballast):
    """A ballast on a disk of which a test says how much others leave free; the ballast itself is a real file."""

    def __init__(self, path: Path, size: int = BALLAST, left: int = 1_000 * KIB) -> None:
        super().__init__(path, size)
        self.left = left

    def free_bytes(self) -> int:
        held = self._path.stat().st_blocks * 512 if self._path.exists() else 0
        return self.left - held


class World:
    def __init__(self, journal: Journal, path: Path, disk: SmallDisk) -> None:
        self.journal = journal
        self.disk = disk
        self.clock = FakeClock()
        self.watch = DiskWatch(journal, path, disk, FLOORS, self.clock)

    def kinds(self) -> list[bytes]:
        events = tables.events(self.journal._reader, 0)
        return [row.body.split(b'"kind":"')[1].split(b'"')[0] for row in events]


@asynccontextmanager
async def a_world(folder: Path, **disk: int) -> AsyncIterator[World]:
    async with a_journal(folder) as journal:
        yield World(journal, folder / "journal.db", SmallDisk(folder / "ballast", **disk))


def size_of(path: Path) -> int:
    return path.stat().st_size


async def test_a_ballast_is_taken_while_there_is_room(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await world.watch.look()

        assert await asyncio.to_thread(size_of, tmp_path / "ballast") == BALLAST
        assert (world.watch.full, world.watch.low) == (False, False)
        world.watch.admit()
        world.watch.admit_download()


async def test_downloads_stop_before_sales_do(tmp_path: Path) -> None:
    async with a_world(tmp_path, left=BALLAST + 299 * KIB) as world:
        await world.watch.look()

        world.watch.admit()
        with pytest.raises(DiskFull):
            world.watch.admit_download()


async def test_below_the_floor_the_ballast_goes_sales_are_refused_and_the_chain_says_so(
    tmp_path: Path,
) -> None:
    async with a_world(tmp_path) as world:
        await world.watch.look()
        world.disk.left = BALLAST + 99 * KIB
        await world.watch.look()

        assert await asyncio.to_thread(size_of, tmp_path / "ballast") == 0
        with pytest.raises(DiskFull):
            world.watch.admit()
        assert world.kinds()[-1] == b"disk_full"


async def test_what_the_ballast_gave_back_is_not_for_selling_on(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await world.watch.look()
        world.disk.left = BALLAST + 99 * KIB
        for _ in range(3):
            await world.watch.look()

            assert world.watch.full


async def test_it_recovers_by_itself_and_takes_the_ballast_again(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await world.watch.look()
        world.disk.left = 0 + BALLAST
        await world.watch.look()
        world.disk.left = BALLAST + 100 * KIB
        await world.watch.look()

        world.watch.admit()
        assert await asyncio.to_thread(size_of, tmp_path / "ballast") == BALLAST
        assert world.kinds()[-2:] == [b"disk_full", b"disk_recovered"]


async def test_a_restart_in_the_middle_does_not_sell_on_the_ballast(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await world.watch.look()
        world.disk.left = BALLAST + 99 * KIB
        await asyncio.to_thread(make_room_to_start, world.disk, FLOORS)

        await world.watch.look()

        assert world.watch.full


async def test_a_disk_too_small_for_the_ballast_sells_down_to_the_floor(tmp_path: Path) -> None:
    async with a_world(tmp_path, left=250 * KIB) as world:
        await world.watch.look()
        world.watch.admit()
        assert not await asyncio.to_thread((tmp_path / "ballast").exists)

        world.disk.left = 99 * KIB
        await world.watch.look()
        with pytest.raises(DiskFull):
            world.watch.admit()
        world.disk.left = 100 * KIB
        await world.watch.look()
        world.watch.admit()


async def test_no_ballast_can_be_chosen(tmp_path: Path) -> None:
    async with a_world(tmp_path, size=0) as world:
        await world.watch.look()

        assert not await asyncio.to_thread((tmp_path / "ballast").exists)
        assert not world.watch.full


async def test_an_event_that_finds_no_room_is_noticed_at_once_and_not_at_the_next_look(
    tmp_path: Path,
) -> None:
    async with a_world(tmp_path) as world:
        watching = asyncio.create_task(world.watch.run())
        await world.clock.advance(1)
        await world.journal._writer.transaction(lambda c: c.execute("PRAGMA max_page_count=1").fetchone())
        noise = random.Random(1).randbytes(50_000).hex().encode()  # what repeats is packed to nothing
        with pytest.raises(DiskFull):
            await world.journal.append(Draft("noted", b'{"text":"%b"}' % noise))

        await until(lambda: world.watch.full)
        await world.journal._writer.transaction(lambda c: c.execute("PRAGMA max_page_count=9999").fetchone())
        await world.clock.advance(LOOK_EVERY_S)
        assert not world.watch.full
        watching.cancel()


async def test_no_catalogue_is_asked_for_while_there_is_little_room_and_one_is_after(tmp_path: Path) -> None:
    async with a_world(tmp_path, left=BALLAST + 299 * KIB) as world, open_mirror(tmp_path / "m.db") as mirror:
        cloud = FakeCloud(world.clock)
        cloud.publish([an_article()])
        keeper = MirrorKeeper(
            mirror,
            cloud,
            Feed(),
            Notes(),
            world.clock,
            random.Random(1),
            tmp_path / "incoming",
            lambda: 60.0,
            world.watch.admit_download,
        )
        await world.watch.look()
        keeping = asyncio.create_task(keeper.run())
        await world.clock.advance(3_600)
        assert cloud.calls == []

        world.disk.left += KIB
        await world.watch.look()
        await world.clock.run_until(lambda: mirror.version == 1, within_s=120)
        keeping.cancel()

"""`storebox rescue` on a whole card: real ext4 images, sound ones and ones whose file system is gone."""

import asyncio
import random
import shutil
import struct
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from appliance.storage.commit import Sealer
from appliance.storage.journal import open_journal
from appliance.storage.partitions import file_systems, is_raw
from tests.conftest import require
from tests.fakes.clock import FakeClock
from tests.fakes.sales import a_trading_day
from tests.integration.cloud.conftest import Enrolled, World, a_world
from tests.integration.rescue.test_commands import storebox
from tests.integration.rescue.test_rescue import sell

MIB = 1024 * 1024
SECTOR = 512
BEGIN = MIB
SALES = 300


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    require("mkfs.ext4", "debugfs")
    async with a_world(tmp_path / "cloud", FakeClock()) as world:
        yield world


class Desk:
    """Head office, a dead box, and the folder from which its card is made."""

    def __init__(self, world: World, folder: Path, dead: Enrolled, token: str) -> None:
        self.world = world
        self.folder = folder
        self.dead = dead
        self.token = token
        self.state = folder / "root" / "var" / "lib" / "storebox"

    async def rescue(self, card: Path) -> int:
        url = str(self.world.session._base_url)
        token = self.folder / "token"
        await asyncio.to_thread(token.write_text, self.token)
        return await storebox("rescue", card, "--cloud", url, "--token-file", token, "--work", self.folder)

    async def booked(self) -> int:
        return len((await self.world.read("/v1/sales?limit=10000")).lines())


@pytest.fixture
async def desk(world: World, tmp_path: Path) -> Desk:
    """A dead box with 301 events in its journal's file, and 41 more in its WAL, as the power left them."""
    desk = Desk(world, tmp_path, await world.enrolled(7), await world.technician_token())
    await asyncio.to_thread(desk.state.mkdir, parents=True)
    live, rng = tmp_path / "live", random.Random(3)
    await asyncio.to_thread(live.mkdir)
    sealer = Sealer(desk.dead.box.name, desk.dead.box.signer, FakeClock())
    async with open_journal(live / "journal.db", sealer) as journal:
        await sell(journal, rng, a_trading_day(rng, SALES))
    async with open_journal(live / "journal.db", sealer) as journal:
        await sell(journal, rng, a_trading_day(rng, 41))
        for name in ("journal.db", "journal.db-wal"):
            await asyncio.to_thread(shutil.copy, live / name, desk.state / name)
    return desk


def an_ext4(folder: Path, mib: int = 64) -> Path:
    image = folder / "data.ext4"
    image.write_bytes(b"")
    subprocess.run(
        ["mkfs.ext4", "-q", "-F", "-b", "4096", "-d", folder / "root", image, f"{mib}M"], check=True
    )
    return image


def a_card(folder: Path, table: Callable[[int], bytes]) -> Path:
    """An image with a partition table and the ext4 behind it."""
    data, card = an_ext4(folder).read_bytes(), folder / "card.img"
    card.write_bytes(table(len(data)).ljust(BEGIN, b"\0") + data + bytes(MIB))
    return card


def mbr(size: int) -> bytes:
    entry = struct.pack("<B3xB3xII", 0, 0x83, BEGIN // SECTOR, size // SECTOR)
    return bytes(446) + entry + bytes(48) + b"\x55\xaa"


def gpt(size: int) -> bytes:
    header = b"EFI PART" + bytes(64) + struct.pack("<QII", 2, 128, 128)
    last = (BEGIN + size) // SECTOR - 1
    entry = bytes(range(1, 33)) + struct.pack("<QQ", BEGIN // SECTOR, last)
    protective = bytes(446) + struct.pack("<B3xB3xII", 0, 0xEE, 1, last) + bytes(48) + b"\x55\xaa"
    return protective + header.ljust(SECTOR, b"\0") + entry


def overwrite(path: Path, begin: int, length: int, fill: bytes = b"\xa5") -> None:
    with path.open("r+b") as file:
        file.seek(begin)
        file.write(fill * length)


def wreck(card: Path) -> None:
    """Overwrite the table, every superblock and every table of inodes, as mke2fs says where they stand."""
    data = card.with_name("data.ext4")
    out = subprocess.run(["dumpe2fs", data], capture_output=True, check=True, text=True).stdout
    inodes = [line.split(" at ")[1].split()[0] for line in out.splitlines() if "Inode table at" in line]
    assert inodes
    for blocks in inodes:
        first, last = (int(number) for number in blocks.split("-"))
        overwrite(card, BEGIN + first * 4096, (last - first + 1) * 4096)
    overwrite(card, 0, BEGIN + 8192)


def in_use(image: Path) -> None:
    """Mark the ext4 as the kernel does while it is mounted."""
    command = ["debugfs", "-w", "-R", "feature needs_recovery", str(image)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.mark.parametrize("table", [mbr, gpt])
async def test_a_sound_image_is_read_by_its_file_system(
    desk: Desk, table: Callable[[int], bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    card = await asyncio.to_thread(a_card, desk.folder, table)
    before = await asyncio.to_thread(card.read_bytes)

    assert await desk.rescue(card) == 0
    assert await desk.rescue(card) == 0

    assert await asyncio.to_thread(card.read_bytes) == before
    out = capsys.readouterr().out
    assert out.count("342 recovered, 0 missing") == 2
    assert "block by block" not in out
    assert await desk.booked() == SALES + 41


async def test_a_card_without_superblock_and_inode_tables_is_searched_block_by_block(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    card = await asyncio.to_thread(a_card, desk.folder, mbr)
    await asyncio.to_thread(wreck, card)

    assert await desk.rescue(card) == 0

    assert "card.img: searched block by block" in (out := capsys.readouterr().out)
    assert "342 recovered, 0 missing" in out
    assert await desk.booked() == SALES + 41


async def test_the_file_system_is_read_by_a_copy_of_its_superblock(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    image = await asyncio.to_thread(an_ext4, desk.folder, 200)
    await asyncio.to_thread(overwrite, image, 1024, 1024)

    assert await desk.rescue(image) == 0

    assert "journal.db, of sb-" in capsys.readouterr().out
    assert await desk.booked() == SALES + 41


async def test_a_file_system_that_was_in_use_is_read_and_then_searched(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    image = await asyncio.to_thread(an_ext4, desk.folder)
    await asyncio.to_thread(in_use, image)

    assert await desk.rescue(image) == 0

    out = capsys.readouterr().out
    assert out.count("342 recovered, 0 missing") == 2
    assert "block by block" in out


async def test_without_debugfs_it_says_so_and_searches(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = await asyncio.to_thread(an_ext4, desk.folder)
    monkeypatch.setenv("PATH", str(desk.folder))

    assert await desk.rescue(image) == 0

    said = capsys.readouterr()
    assert "install e2fsprogs" in said.err
    assert "342 recovered, 0 missing" in said.out


async def test_rows_longer_than_a_page_are_put_together_again(desk: Desk, tmp_path: Path) -> None:
    rng, sealer = random.Random(5), Sealer(desk.dead.box.name, desk.dead.box.signer, FakeClock())
    await asyncio.to_thread(shutil.rmtree, desk.state)
    await asyncio.to_thread(desk.state.mkdir)
    async with open_journal(desk.state / "journal.db", sealer) as journal:
        await sell(journal, rng, a_trading_day(rng, 50))
        for size in (6_000, 30_000, 5_000, 100_000):
            await journal.record("noted", {"noise": rng.randbytes(size).hex()})
        await sell(journal, rng, a_trading_day(rng, 50))
    card = tmp_path / "card"
    file = await asyncio.to_thread((desk.state / "journal.db").read_bytes)
    await asyncio.to_thread(card.write_bytes, rng.randbytes(5 * 512) + file)

    assert await desk.rescue(card) == 0
    assert await desk.booked() == 100


async def test_long_rows_are_found_in_a_log_that_was_never_checkpointed(desk: Desk, tmp_path: Path) -> None:
    rng, sealer = random.Random(6), Sealer(desk.dead.box.name, desk.dead.box.signer, FakeClock())
    folder, card = tmp_path / "long", tmp_path / "card"
    await asyncio.to_thread(folder.mkdir)
    async with open_journal(folder / "journal.db", sealer) as journal:
        await journal.record("noted", {"noise": rng.randbytes(20_000).hex()})
        await sell(journal, rng, a_trading_day(rng, 10))
        wal = await asyncio.to_thread((folder / "journal.db-wal").read_bytes)
    await asyncio.to_thread(card.write_bytes, bytes(4096) + wal)

    assert await desk.rescue(card) == 0
    assert await desk.booked() == 10


async def test_what_is_old_or_of_another_continuation_is_sorted_out_by_the_chain(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, other, card = tmp_path / "one", tmp_path / "other", tmp_path / "card"
    rng, sealer = random.Random(7), Sealer(desk.dead.box.name, desk.dead.box.signer, FakeClock())
    await asyncio.to_thread(folder.mkdir)
    async with open_journal(folder / "journal.db", sealer) as journal:
        await sell(journal, rng, a_trading_day(rng, 20))
    old = await asyncio.to_thread((folder / "journal.db").read_bytes)
    await asyncio.to_thread(shutil.copytree, folder, other)
    for continued, sales in ((folder, 30), (other, 5)):
        async with open_journal(continued / "journal.db", sealer) as journal:
            await sell(journal, rng, a_trading_day(rng, sales))
    newest, forked = [
        await asyncio.to_thread((continued / "journal.db").read_bytes) for continued in (folder, other)
    ]
    await asyncio.to_thread(card.write_bytes, bytes(512) + forked + old + newest + rng.randbytes(100_000))

    assert await desk.rescue(card) == 1

    out = capsys.readouterr().out
    assert "51 recovered, 0 missing" in out
    assert out.count("REFUSED") == 1
    assert await desk.booked() == 50


async def test_an_empty_card_is_told_with_exit_code_1(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = tmp_path / "card"
    await asyncio.to_thread(card.write_bytes, random.Random(1).randbytes(3 * MIB))

    assert await desk.rescue(card) == 1

    assert "no event of a box stands there" in capsys.readouterr().err


def test_a_damaged_partition_table_names_nothing_impossible(tmp_path: Path) -> None:
    card = tmp_path / "card"
    for seed in range(200):
        rng = random.Random(seed)
        table = rng.choice([mbr, gpt])(64 * MIB)
        spoiled = bytearray(table)
        for _ in range(rng.randint(1, 40)):
            spoiled[rng.randrange(len(spoiled))] = rng.randrange(256)
        card.write_bytes(spoiled)
        assert is_raw(card)
        assert all(begin >= 0 for begin in file_systems(card))

"""The mirror's file outlives cuts and restarts, and one that went bad is noticed and made anew."""

import sqlite3
from pathlib import Path

import pytest

from appliance.domain.errors import Malformed, StorageFault
from appliance.storage.mirror import Mirror, open_mirror
from tests.fakes.catalogue import a_transfer, an_article, ean13


async def test_a_mirror_left_in_the_middle_of_an_update_is_whole(
    mirror: Mirror, incoming: Path, tmp_path: Path
) -> None:
    await mirror.apply(a_transfer(incoming, 1, [an_article(1)]))
    cut = tmp_path / "cut"
    cut.mkdir()

    def copy_then_fail(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA cache_size = 1")  # so that pages of the open transaction reach the WAL
        connection.execute("UPDATE article SET body = zeroblob(200000)")
        connection.execute("UPDATE catalogue SET version = 2")
        for file in tmp_path.glob("mirror.db*"):
            (cut / file.name).write_bytes(file.read_bytes())  # what a power cut would leave
        raise Malformed("enough")

    with pytest.raises(Malformed, match="enough"):
        await mirror.writer.transaction(copy_then_fail)

    async with open_mirror(cut / "mirror.db") as found:
        assert found.by_id("A0000001") == (1, [an_article(1)])
        assert await found.verify()


async def test_after_an_update_the_wal_is_empty(mirror: Mirror, incoming: Path, tmp_path: Path) -> None:
    await mirror.apply(a_transfer(incoming, 1, map(an_article, range(1, 2_000))))

    assert (tmp_path / "mirror.db-wal").stat().st_size == 0


async def test_articles_that_rotted_are_noticed_and_a_snapshot_mends_them(
    mirror: Mirror, incoming: Path
) -> None:
    transfer = a_transfer(incoming, 3, [an_article(1), an_article(2)])
    await mirror.apply(transfer)
    await mirror.writer.transaction(lambda c: c.execute("UPDATE article SET body = x'00' WHERE id = 1"))
    assert not await mirror.verify()
    with pytest.raises(StorageFault):
        mirror.by_id("A0000001")

    await mirror.apply(transfer, anew=True)

    assert (mirror.by_id("A0000001"), await mirror.verify()) == ((3, [an_article(1)]), True)


@pytest.mark.parametrize("rot", ["header", "middle", "newer release"])
async def test_a_file_that_went_bad_is_set_aside_and_begun_anew(
    tmp_path: Path, incoming: Path, rot: str
) -> None:
    path = tmp_path / "mirror.db"
    async with open_mirror(path) as mirror:
        await mirror.apply(a_transfer(incoming, 1, map(an_article, range(1, 2_000))))
        if rot == "newer release":
            await mirror.writer.transaction(lambda c: c.execute("PRAGMA user_version = 99"))
            await mirror.writer.transaction(lambda c: c.execute("PRAGMA application_id = 99"))
    content = bytearray(path.read_bytes())
    spoiled = {"header": range(0, 100), "middle": range(8_192, len(content)), "newer release": range(0)}[rot]
    content[spoiled.start : spoiled.stop] = b"\x55" * len(spoiled)
    path.write_bytes(content)

    async with open_mirror(path) as mirror:
        if rot == "middle":  # opens, and shows its trouble only when read
            assert not await mirror.verify()
    async with open_mirror(path) as mirror:
        assert mirror.version == 0
        await mirror.apply(a_transfer(incoming, 1, [an_article(1)]))
        assert mirror.count == 1

    assert path.with_name("mirror.db.aside").read_bytes() == content


async def test_it_is_all_there_after_a_restart(tmp_path: Path, incoming: Path) -> None:
    async with open_mirror(tmp_path / "mirror.db") as mirror:
        await mirror.apply(a_transfer(incoming, 4, [an_article(1)]))
        state = mirror.state

    async with open_mirror(tmp_path / "mirror.db") as mirror:
        assert mirror.state == state
        assert mirror.by_gtin(ean13(1)) == (4, [an_article(1)])

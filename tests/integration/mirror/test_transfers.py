"""What the box gives on to tills is what it has, of one version, also after snapshots and restored head offices."""

import asyncio
import io
import tempfile
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.domain.catalogue import Article, Lead, read_transfer, unpack_transfer
from appliance.domain.errors import SnapshotRequired, StorageFault
from appliance.runtime.database import open_reader
from appliance.storage.mirror import Mirror, open_mirror
from appliance.storage.mirror_export import CHANGES_MAX, one_version
from appliance.storage.mirror_load import TOMBSTONES_MAX, load, read_state
from tests.fakes.catalogue import a_transfer, an_article, ean13, packed


def unpacked(body: bytes) -> tuple[Lead, list[Article]]:
    lead, *articles = read_transfer(unpack_transfer(io.BytesIO(body)))
    assert isinstance(lead, Lead)
    return lead, [article for article in articles if isinstance(article, Article)]


def gone(article: Article) -> Article:
    return msgspec.structs.replace(article, deleted=True)


async def check_words(mirror: Mirror) -> None:
    """The index of words agrees with the articles (sqlite.org/fts5.html, 6.4), or StorageFault."""
    check = "INSERT INTO article_words (article_words, rank) VALUES ('integrity-check', 1)"
    await mirror.writer.transaction(lambda connection: connection.execute(check))


async def load_anyhow(
    mirror: Mirror, version: int, articles: Iterable[Article], *, tombstones_max: int
) -> None:
    body = io.BytesIO(packed(version, articles))
    await mirror.writer.transaction(
        lambda connection: load(
            connection, read_transfer(unpack_transfer(body)), tombstones_max=tombstones_max
        )
    )


async def test_a_snapshot_holds_what_can_be_sold(mirror: Mirror, incoming: Path) -> None:
    one, two = an_article(1), an_article(2)
    await mirror.apply(a_transfer(incoming, 4, [one, two, gone(an_article(3))]))
    await mirror.apply(a_transfer(incoming, 5, [gone(two)], since=4))

    assert unpacked((await mirror.snapshot()).read_bytes()) == (Lead(5, None), [one])


async def test_a_snapshot_is_made_once_for_a_version(mirror: Mirror, incoming: Path) -> None:
    await mirror.apply(a_transfer(incoming, 1, [an_article(1)]))
    first = (await mirror.snapshot()).stat()
    assert (await mirror.snapshot()).stat() == first

    await mirror.apply(a_transfer(incoming, 2, [an_article(2)], since=1))

    assert unpacked((await mirror.snapshot()).read_bytes())[0] == Lead(2, None)


async def test_a_snapshot_that_cannot_be_written_is_a_fault_of_the_storage(
    mirror: Mirror, incoming: Path, tmp_path: Path
) -> None:
    await mirror.apply(a_transfer(incoming, 1, [an_article(1)]))
    (tmp_path / "mirror-snapshot.zst").mkdir()

    with pytest.raises(StorageFault):
        await mirror.snapshot()

    assert mirror.count == 1


async def test_changes_hold_the_last_state_of_each_article_and_the_tombstones(
    mirror: Mirror, incoming: Path
) -> None:
    one, two, three = (an_article(number) for number in (1, 2, 3))
    await mirror.apply(a_transfer(incoming, 4, [one, two, three]))
    await mirror.apply(a_transfer(incoming, 5, [an_article(1, price_minor=1)], since=4))
    await mirror.apply(a_transfer(incoming, 7, [an_article(1, price_minor=2), gone(two)], since=5))

    assert unpacked(await mirror.changes(4)) == (Lead(7, 4), [an_article(1, price_minor=2), gone(two)])
    assert unpacked(await mirror.changes(5)) == unpacked(
        packed(7, [an_article(1, price_minor=2), gone(two)], since=5)
    )
    assert unpacked(await mirror.changes(7)) == (Lead(7, 7), [])


async def test_changes_reach_across_a_snapshot(mirror: Mirror, incoming: Path) -> None:
    one, two, three = (an_article(number) for number in (1, 2, 3))
    await mirror.apply(a_transfer(incoming, 4, [one, two]))

    await mirror.apply(a_transfer(incoming, 9, [one, three]))

    assert unpacked(await mirror.changes(4)) == (Lead(9, 4), [gone(two), three])


async def test_what_is_older_than_the_mirror_or_newer_needs_a_snapshot(
    mirror: Mirror, incoming: Path
) -> None:
    await mirror.apply(a_transfer(incoming, 4, [an_article(1)]))
    await mirror.apply(a_transfer(incoming, 6, [an_article(2)], since=4))

    for since in (0, 3, 7):
        with pytest.raises(SnapshotRequired):
            await mirror.changes(since)


async def test_so_many_changes_that_a_snapshot_serves_better(mirror: Mirror, incoming: Path) -> None:
    await mirror.apply(a_transfer(incoming, 1, []))
    await mirror.apply(a_transfer(incoming, 2, map(an_article, range(CHANGES_MAX)), since=1))
    assert len(unpacked(await mirror.changes(1))[1]) == CHANGES_MAX

    await mirror.apply(a_transfer(incoming, 3, [an_article(CHANGES_MAX)], since=2))

    with pytest.raises(SnapshotRequired):
        await mirror.changes(1)


async def test_tombstones_do_not_pile_up_and_the_horizon_says_so(mirror: Mirror, incoming: Path) -> None:
    articles = [an_article(number) for number in range(10)]
    for version in range(1, 11):  # each version loses one more
        await load_anyhow(mirror, version, articles[version - 1 :], tombstones_max=6)

    # The seventh grave, in version 8, was one too many: four were forgotten, up to version 5.
    assert mirror.state.horizon == 5
    assert unpacked(await mirror.changes(5)) == (Lead(10, 5), [gone(a) for a in articles[4:9]])
    with pytest.raises(SnapshotRequired):
        await mirror.changes(4)
    assert TOMBSTONES_MAX > CHANGES_MAX
    await check_words(mirror)


async def test_a_restored_head_office_is_followed_and_old_versions_no_longer_count(
    mirror: Mirror, incoming: Path
) -> None:
    await mirror.apply(a_transfer(incoming, 18, [an_article(1)]))
    await mirror.apply(a_transfer(incoming, 20, [an_article(2)], since=18))

    await mirror.apply(a_transfer(incoming, 19, [an_article(3)]))
    assert (mirror.version, mirror.count, await mirror.verify()) == (19, 1, True)
    await mirror.apply(a_transfer(incoming, 25, [an_article(4)], since=19))

    for since in (18, 19, 20):  # a till that says 20 may mean the one that never was
        with pytest.raises(SnapshotRequired):
            await mirror.changes(since)


async def test_a_transfer_is_of_one_version_while_updates_go_on(mirror: Mirror, incoming: Path) -> None:
    numbers = range(1, 2_000)
    await mirror.apply(a_transfer(incoming, 1, [an_article(n, price_minor=1) for n in numbers]))
    seen: set[tuple[int, frozenset[int]]] = set()

    for version in range(2, 6):
        a_transfer(
            incoming, version, [an_article(n, price_minor=version) for n in numbers], since=version - 1
        )
        applying = asyncio.create_task(mirror.apply(incoming))
        while not applying.done():
            lead, articles = unpacked(await mirror.changes(1))
            seen.add((lead.version, frozenset(article.price_minor for article in articles)))
        await applying

    assert seen >= {(1, frozenset()), (2, frozenset({2}))}
    assert all(prices <= {version} for version, prices in seen)


numbers = st.integers(1, 8)


async def test_reads_that_belong_together_see_no_update_between_them(
    mirror: Mirror, incoming: Path, tmp_path: Path
) -> None:
    await mirror.apply(a_transfer(incoming, 1, [an_article(1)]))
    with closing(open_reader(tmp_path / "mirror.db")) as reader, one_version(reader):
        before = read_state(reader)

        await mirror.writer.transaction(
            lambda connection: connection.execute("UPDATE catalogue SET version = 2")
        )

        assert read_state(reader) == before
    assert mirror.version == 2


Steps = list[tuple[bool, dict[int, int]]]
steps = st.lists(
    st.tuples(st.booleans(), st.dictionaries(numbers, st.integers(0, 3), max_size=6)), max_size=6
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(steps=steps)
async def test_a_till_that_follows_by_changes_ends_where_the_box_is(tmp_path: Path, steps: Steps) -> None:
    """Whatever mix of snapshots and changes the box gets, a chain of changes and a fresh snapshot say the same."""
    folder = Path(tempfile.mkdtemp(dir=tmp_path))  # for each example
    incoming = folder / "incoming.zst"
    async with open_mirror(folder / "box.db") as box, open_mirror(folder / "till.db") as till:
        await box.apply(a_transfer(incoming, 1, []))
        await till.apply(await box.snapshot())
        for version, (whole, content) in enumerate(steps, 2):
            articles = [
                an_article(
                    n, price_minor=price, name=f"{n} {price % 2}", gtins=[ean13(price)], deleted=price == 0
                )
                for n, price in content.items()
            ]
            await box.apply(a_transfer(incoming, version, articles, since=None if whole else version - 1))
            if version % 2:
                incoming.write_bytes(await box.changes(till.version))
                await till.apply(incoming)
                assert till.state[2:] == box.state[2:]
        assert await box.verify()
        assert await till.verify()
        for mirror in (box, till):
            await check_words(mirror)

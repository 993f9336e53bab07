"""Transfers are applied whole or not at all, and answers come from one version."""

import threading
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from appliance.domain.errors import BadInput, Malformed, SnapshotRequired
from appliance.runtime.database import open_reader
from appliance.storage.mirror import Mirror, open_mirror
from appliance.storage.mirror_load import live_digest
from tests.fakes.catalogue import a_transfer, an_article, ean13, packed, real_or_made_articles


async def test_an_empty_mirror_says_so(mirror: Mirror) -> None:
    assert (mirror.version, mirror.count) == (0, 0)
    assert mirror.by_id("A0000001") == (0, [])
    assert mirror.by_gtin(ean13(1)) == (0, [])
    assert await mirror.search("café") == (0, [])
    assert await mirror.verify()


async def test_a_snapshot_then_changes_then_a_deletion(mirror: Mirror, incoming: Path) -> None:
    one, two, three = (an_article(number) for number in (1, 2, 3))
    await mirror.apply(a_transfer(incoming, 10, [one, two]))
    assert mirror.by_id(one.article_id) == (10, [one])
    assert mirror.by_gtin(two.gtins[0]) == (10, [two])

    dearer = msgspec.structs.replace(
        one, price_minor=one.price_minor + 1, name="Crème de marrons", gtins=[ean13(99)]
    )
    await mirror.apply(a_transfer(incoming, 12, [dearer, three], since=10))
    assert (mirror.version, mirror.count) == (12, 3)
    assert (
        mirror.by_id(one.article_id)
        == mirror.by_gtin(ean13(99))
        == await mirror.search("marron")
        == (12, [dearer])
    )
    assert mirror.by_gtin(one.gtins[0]) == (12, [])
    assert mirror.by_id(three.article_id) == (12, [three])

    await mirror.apply(a_transfer(incoming, 13, [msgspec.structs.replace(dearer, deleted=True)], since=12))
    assert (mirror.version, mirror.count) == (13, 2)
    assert (
        mirror.by_id(one.article_id) == mirror.by_gtin(ean13(99)) == await mirror.search("marron") == (13, [])
    )

    await mirror.apply(a_transfer(incoming, 14, [one], since=13))
    assert mirror.by_id(one.article_id) == mirror.by_gtin(one.gtins[0]) == (14, [one])
    assert await mirror.verify()


async def test_what_a_snapshot_does_not_name_disappears(mirror: Mirror, incoming: Path) -> None:
    one, two = an_article(1), an_article(2)
    await mirror.apply(a_transfer(incoming, 1, [one, two]))

    applied = await mirror.apply(a_transfer(incoming, 2, [two]))

    assert (applied.carried, applied.changed) == (1, 1)
    assert mirror.by_id(one.article_id) == mirror.by_gtin(one.gtins[0]) == (2, [])
    assert mirror.by_id(two.article_id) == (2, [two])
    assert (mirror.count, await mirror.verify()) == (1, True)


async def test_the_digest_depends_on_the_articles_alone(
    mirror: Mirror, incoming: Path, tmp_path: Path
) -> None:
    articles = [an_article(number) for number in range(1, 30)]
    await mirror.apply(a_transfer(incoming, 1, [*articles[::-1], an_article(500)]))
    await mirror.apply(
        a_transfer(incoming, 2, [an_article(500, deleted=True), an_article(501, deleted=True)], since=1)
    )

    async with open_mirror(tmp_path / "another.db") as another:
        await another.apply(a_transfer(incoming, 7, articles))

        assert another.state.digest == mirror.state.digest != bytes(32).hex()


async def test_changes_that_do_not_follow_ask_for_a_snapshot(mirror: Mirror, incoming: Path) -> None:
    await mirror.apply(a_transfer(incoming, 5, [an_article(1)]))

    for since in (4, 6):
        with pytest.raises(SnapshotRequired):
            await mirror.apply(a_transfer(incoming, 7, [an_article(2)], since=since))

    assert (mirror.version, mirror.count) == (5, 1)


async def test_changes_without_news_change_nothing(mirror: Mirror, incoming: Path) -> None:
    await mirror.apply(a_transfer(incoming, 5, [an_article(1)]))
    before = mirror.state

    applied = await mirror.apply(a_transfer(incoming, 5, [], since=5))

    assert (applied.carried, applied.changed, mirror.state) == (0, 0, before)


@pytest.mark.parametrize("version", [4, 5])
async def test_a_version_never_changes_its_meaning(mirror: Mirror, incoming: Path, version: int) -> None:
    await mirror.apply(a_transfer(incoming, 5, [an_article(1)]))

    with pytest.raises(Malformed, match="version"):
        await mirror.apply(a_transfer(incoming, version, [an_article(2)], since=5))

    assert (mirror.version, mirror.count) == (5, 1)


async def test_an_article_named_twice_is_what_was_said_last(mirror: Mirror, incoming: Path) -> None:
    for version in (1, 2):
        last = an_article(1, price_minor=version)
        await mirror.apply(
            a_transfer(incoming, version, [an_article(1, price_minor=77), an_article(2), last])
        )

        assert mirror.by_id(last.article_id) == (version, [last])
        assert (mirror.count, await mirror.verify()) == (2, True)


BODY = packed(2, [an_article(number) for number in range(1, 2_000)])
MIDDLE = len(BODY) // 2


@pytest.mark.parametrize(
    ("damaged", "said"),
    [
        (b"", "cannot be read"),
        (b"no zstd at all", "zstd"),
        (BODY[:MIDDLE], "cannot be read|cut"),
        (BODY[:-30], "cannot be read|cut"),
        (BODY[:MIDDLE] + bytes([BODY[MIDDLE] ^ 1]) + BODY[MIDDLE + 1 :], "zstd|cannot be read|cut"),
        (packed(2, [an_article(1)])[:20] + BODY[20:], "zstd|cannot be read|cut"),
    ],
    ids=["empty", "foreign", "cut in the middle", "without its tail", "a flipped bit", "two in one"],
)
async def test_a_damaged_transfer_leaves_the_old_version_and_says_why(
    mirror: Mirror, incoming: Path, damaged: bytes, said: str
) -> None:
    one = an_article(1, price_minor=1)
    await mirror.apply(a_transfer(incoming, 1, [one]))
    incoming.write_bytes(damaged)  # noqa: ASYNC240

    with pytest.raises(BadInput, match=said):
        await mirror.apply(incoming)

    assert mirror.by_id(one.article_id) == (1, [one])
    assert (mirror.count, await mirror.verify()) == (1, True)
    await mirror.apply(a_transfer(incoming, 2, [an_article(2)], since=1))  # and the writer goes on
    assert mirror.count == 2


async def test_a_reader_sees_the_old_or_the_new_catalogue_never_a_mixture(
    tmp_path: Path, incoming: Path
) -> None:
    path, stop, torn, seen = tmp_path / "mirror.db", threading.Event(), [], set()

    def look() -> None:
        with closing(open_reader(path)) as reader:
            while not stop.is_set():
                reader.execute("BEGIN")
                version, count, digest = reader.execute(
                    "SELECT version, articles, digest FROM catalogue"
                ).fetchone()
                prices = reader.execute(
                    "SELECT DISTINCT json_extract(body, '$.price_minor') FROM article WHERE NOT deleted"
                ).fetchall()
                (codes,) = reader.execute("SELECT count(*) FROM barcode").fetchone()
                whole = live_digest(reader) == digest.hex()
                reader.execute("COMMIT")
                seen.add(version)
                if prices not in ([], [(version,)]) or codes != count or not whole:
                    torn.append((version, count, codes, prices))

    async with open_mirror(path) as mirror:
        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            for version in range(1, 6):
                # Even versions lack a third of the articles; every price is the version.
                numbers = (n for n in range(1, 3_000) if version % 2 or n % 3)
                whole = [an_article(number, price_minor=version) for number in numbers]
                await mirror.apply(a_transfer(incoming, version, whole))
                assert mirror.by_id("A0000001").articles[0].price_minor == version
        finally:
            stop.set()
            watcher.join()

    assert torn == []
    assert len(seen) > 1, "the watcher saw no update go by"


@pytest.mark.slow
@pytest.mark.timeout(180)  # under coverage, on a small machine
async def test_a_hundred_thousand_articles_are_mirrored(mirror: Mirror, incoming: Path) -> None:
    articles = list(real_or_made_articles(100_000))

    await mirror.apply(a_transfer(incoming, 1, articles))

    assert (mirror.count, await mirror.verify()) == (100_000, True)
    for article in articles[:: len(articles) // 500]:
        assert article in mirror.by_gtin(article.gtins[0]).articles
        assert mirror.by_id(article.article_id).articles == [article]

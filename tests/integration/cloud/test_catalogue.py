"""Publishing a catalogue and handing it out: versions, changes, tombstones, whole transfers."""

import gzip
import io
from asyncio import to_thread as run_in_thread
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from appliance.domain.catalogue import Article, Lead, read_transfer, unpack_transfer
from appliance.domain.wire import CATALOGUE_MEDIA
from cloud import cli
from tests.fakes.catalogue import an_article
from tests.integration.cloud.conftest import Enrolled, World


async def publish(world: World, articles: Iterable[Article]) -> None:
    """As head office does it: from a file, by the command, beside the running daemon."""
    file = world.settings.state / "articles.ndjson"
    text = b"".join(msgspec.json.encode(article) + b"\n" for article in articles)
    await run_in_thread(publish_file, world, file, text)


def publish_file(world: World, file: Path, text: bytes) -> None:
    file.write_bytes(text)
    assert cli.run(["catalogue", "import", str(file), "--state", str(world.settings.state)]) == 0


async def transfer(box: Enrolled, what: str) -> tuple[Lead, list[Article]]:
    answer = await box.world.ask("GET", f"/v1/catalogue/{what}", box.token)
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Type"] == CATALOGUE_MEDIA
    lead, *articles = read_transfer(unpack_transfer(io.BytesIO(answer.body)))
    assert isinstance(lead, Lead)
    return lead, [article for article in articles if isinstance(article, Article)]


async def test_before_the_first_publication_the_snapshot_is_empty(box: Enrolled) -> None:
    assert await transfer(box, "snapshot") == (Lead(0, None), [])


async def test_a_snapshot_holds_every_article(box: Enrolled) -> None:
    articles = [an_article(number) for number in range(50)]

    await publish(box.world, articles)

    assert await transfer(box, "snapshot") == (Lead(1, None), articles)


async def test_a_till_may_read_the_catalogue_too(box: Enrolled) -> None:
    answer = await box.world.ask("GET", "/v1/catalogue/snapshot", await box.world.till_token())

    assert answer.status == 200


async def test_changes_hold_only_what_changed_and_tombstones_for_what_went(box: Enrolled) -> None:
    old = [an_article(number) for number in range(10)]
    dearer = msgspec.structs.replace(old[3], price_minor=old[3].price_minor + 10)
    await publish(box.world, old)
    await publish(box.world, [*old[:3], dearer, *old[4:9], an_article(77)])

    lead, changed = await transfer(box, "changes?since=1")

    assert lead == Lead(2, 1)
    gone = msgspec.structs.replace(old[9], deleted=True)
    assert changed == sorted([dearer, gone, an_article(77)], key=lambda article: article.article_id)
    assert len((await transfer(box, "snapshot"))[1]) == 10


async def test_an_article_that_comes_back_is_alive_again(box: Enrolled) -> None:
    articles = [an_article(number) for number in range(3)]
    await publish(box.world, articles)
    await publish(box.world, articles[:2])

    await publish(box.world, articles)

    assert await transfer(box, "changes?since=2") == (Lead(3, 2), [articles[2]])
    assert (await transfer(box, "snapshot"))[1] == articles


async def test_the_same_catalogue_again_makes_no_new_version(box: Enrolled) -> None:
    articles = [an_article(number) for number in range(3)]
    await publish(box.world, articles)

    await publish(box.world, articles)

    assert await transfer(box, "changes?since=1") == (Lead(1, 1), [])


async def test_changes_join_up_over_several_versions(box: Enrolled) -> None:
    for version in range(1, 5):
        await publish(box.world, [an_article(number) for number in range(version)])

    lead, changed = await transfer(box, "changes?since=2")

    assert (lead, changed) == (Lead(4, 2), [an_article(2), an_article(3)])


async def test_a_version_that_head_office_never_had_needs_a_snapshot(box: Enrolled) -> None:
    await publish(box.world, [an_article(1)])

    answer = await box.world.ask("GET", "/v1/catalogue/changes?since=2", box.token)

    assert (answer.status, answer.problem) == (410, "snapshot-required")


@pytest.mark.parametrize("query", ["", "?since=", "?since=-1", "?since=x", "?since=1e3"])
async def test_changes_need_a_version(box: Enrolled, query: str) -> None:
    answer = await box.world.ask("GET", f"/v1/catalogue/changes{query}", box.token)

    assert (answer.status, answer.problem) == (400, "bad-input")


async def test_old_transfers_do_not_pile_up(box: Enrolled) -> None:
    for version in range(1, 30):
        await publish(box.world, [an_article(version)])
        await transfer(box, "changes?since=0")

    kept = await run_in_thread(lambda: list(box.world.settings.transfers.iterdir()))
    assert len(kept) <= 16


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "no article"),
        (b"gtin\tname\n", "no article"),
        (b"gtin\tname\n4006381333930\tStylo\n", "line 2: '4006381333930' is no GTIN"),
        (b"4006381333931\n", "line 1: 4006381333931 has no name"),
        (b"4006381333931\t" + b"x" * 401, "longer than 400"),
        (b"4006381333931\t\xff\n", "line 1"),
        (b'{"article_id":"a"}\n', "line 1: Object missing required field `name`"),
        (b"4006381333931\tStylo\n4006381333931\tStylo\n", "4006381333931 stands twice"),
        (gzip.compress(b"4006381333931\tStylo\n" * 1_000, mtime=0)[:-20], "damaged"),
        (b"x" * 100_000, "line 1"),
    ],
)
def test_a_bad_file_changes_nothing_and_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: bytes, says: str
) -> None:
    state, file = ["--state", str(tmp_path / "cloud")], tmp_path / "articles"
    cli.run(["catalogue", "make", "--articles", "5", *state])
    file.write_bytes(text)

    code = cli.run(["catalogue", "import", str(file), *state])

    assert code == 1
    assert says in capsys.readouterr().err
    assert cli.run(["catalogue", "make", "--articles", "5", "--json", *state]) == 0
    assert '"version":1,"articles":5,"changed":0' in capsys.readouterr().out

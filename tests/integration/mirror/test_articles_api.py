"""Articles and transfers over real HTTP."""

import io
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from appliance.api import articles
from appliance.api.keys import MIRROR, MIRROR_KEEPER
from appliance.domain.catalogue import Lead, read_transfer, unpack_transfer
from appliance.domain.wire import CATALOGUE_MEDIA
from appliance.runtime.problem import problem_middleware
from appliance.services.feed import Feed
from appliance.services.mirror import MirrorKeeper
from appliance.storage.mirror import Mirror, open_mirror
from tests.fakes.catalogue import a_transfer, an_article, ean13
from tests.fakes.clock import FakeClock
from tests.fakes.cloud import FakeCloud
from tests.fakes.notes import Notes

Client = TestClient[web.Request, web.Application]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def mirror(tmp_path: Path) -> AsyncIterator[Mirror]:
    async with open_mirror(tmp_path / "mirror.db") as opened:
        await opened.apply(a_transfer(tmp_path / "incoming.zst", 7, map(an_article, range(1, 50))))
        yield opened


@pytest.fixture
async def client(mirror: Mirror, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Client]:
    app = web.Application(middlewares=[problem_middleware])
    app[MIRROR] = mirror
    app[MIRROR_KEEPER] = MirrorKeeper(
        mirror,
        FakeCloud(clock),
        Feed(),
        Notes(),
        clock,
        random.Random(1),
        tmp_path / "incoming.zst",
        lambda: 600.0,
    )
    app.router.add_get("/v1/articles/{article_id}", articles.get_article)
    app.router.add_get("/v1/articles", articles.find_articles)
    app.router.add_get("/v1/catalogue/snapshot", articles.get_snapshot)
    app.router.add_get("/v1/catalogue/changes", articles.get_changes)
    async with TestClient(TestServer(app)) as opened:
        yield opened


async def ask(client: Client, path: str, status: int = 200) -> dict[str, Any]:
    async with client.get(path) as response:
        assert response.status == status, await response.text()
        body: dict[str, Any] = await response.json(content_type=None)
        return body


@pytest.mark.parametrize(
    "path",
    [
        "/v1/articles/A0000003",
        f"/v1/articles?gtin={ean13(3)}",
        f"/v1/articles?gtin=0{ean13(3)}",
        "/v1/articles?q=3",
    ],
)
async def test_an_article_comes_with_version_and_age(client: Client, clock: FakeClock, path: str) -> None:
    assert client.app is not None
    client.app[MIRROR_KEEPER].nudge(7)
    await clock.advance(12.5)

    answer = await ask(client, path)

    assert (answer["version"], answer["age_s"]) == (7, 12.5)
    assert answer["articles"][0]["article_id"] == "A0000003"


async def test_an_unknown_article_is_a_problem_that_names_the_version(client: Client) -> None:
    problem = await ask(client, "/v1/articles/nobody", 404)

    assert (problem["code"], problem["version"]) == ("not-found", 7)


async def test_nothing_found_is_an_answer(client: Client) -> None:
    for path in ("/v1/articles?q=xyzzy", f"/v1/articles?gtin={ean13(999)}"):
        assert (await ask(client, path))["articles"] == []


async def test_the_limit_is_kept(client: Client) -> None:
    assert len((await ask(client, "/v1/articles?q=3&limit=2"))["articles"]) == 2


@pytest.mark.parametrize(
    "query",
    [
        "",
        "q=",
        "q=%22",
        "gtin=",
        "gtin=123",
        "gtin=3000000000001",
        "gtin=96385074&q=lait",
        "q=a&q=b",
        "limit=3",
        "q=a&limit=0",
        "q=a&limit=101",
        "q=a&limit=x",
        "q=a&limit=-1",
        "q=a&limit=1e1",
        "q=a&limit=" + "9" * 5_000,
    ],
)
async def test_a_question_that_cannot_be_read_is_a_400(client: Client, query: str) -> None:
    assert (await ask(client, f"/v1/articles?{query}", 400))["code"] == "bad-input"


async def test_the_snapshot_is_a_whole_transfer(client: Client) -> None:
    async with client.get("/v1/catalogue/snapshot") as response:
        assert (response.status, response.content_type) == (200, CATALOGUE_MEDIA)
        assert "Content-Encoding" not in response.headers
        lead, *found = read_transfer(unpack_transfer(io.BytesIO(await response.read())))

    assert lead == Lead(7, None)
    assert found == [an_article(number) for number in range(1, 50)]


async def test_a_snapshot_that_is_known_is_not_sent_again_and_a_broken_download_goes_on(
    client: Client, mirror: Mirror, tmp_path: Path
) -> None:
    async with client.get("/v1/catalogue/snapshot") as response:
        whole, etag = await response.read(), response.headers["ETag"]

    async with client.get("/v1/catalogue/snapshot", headers={"If-None-Match": etag}) as response:
        assert response.status == 304
    async with client.get(
        "/v1/catalogue/snapshot", headers={"Range": "bytes=100-", "If-Range": etag}
    ) as response:
        assert (response.status, await response.read()) == (206, whole[100:])

    await mirror.apply(a_transfer(tmp_path / "more.zst", 8, [an_article(99)], since=7))
    async with client.get("/v1/catalogue/snapshot", headers={"If-None-Match": etag}) as response:
        assert response.status == 200


async def test_changes_since_a_known_version(client: Client, mirror: Mirror, tmp_path: Path) -> None:
    await mirror.apply(a_transfer(tmp_path / "more.zst", 8, [an_article(99)], since=7))

    async with client.get("/v1/catalogue/changes?since=7") as response:
        assert (response.status, response.content_type) == (200, CATALOGUE_MEDIA)
        body = await response.read()

    assert list(read_transfer(unpack_transfer(io.BytesIO(body)))) == [Lead(8, 7), an_article(99)]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [("since=3", 410, "snapshot-required"), ("since=9", 410, "snapshot-required")]
    + [
        (query, 400, "bad-input")
        for query in ("", "since=", "since=-1", "since=x", "since=1.0", "since=" + "9" * 30)
    ],
)
async def test_changes_that_cannot_be_given(client: Client, query: str, status: int, code: str) -> None:
    assert (await ask(client, f"/v1/catalogue/changes?{query}", status))["code"] == code


async def test_a_box_without_a_catalogue_says_when_to_ask_again(client: Client, tmp_path: Path) -> None:
    assert client.app is not None
    async with open_mirror(tmp_path / "empty.db") as empty:
        bare = web.Application(middlewares=[problem_middleware])
        bare[MIRROR] = empty
        bare.router.add_get("/v1/catalogue/snapshot", articles.get_snapshot)
        async with TestClient(TestServer(bare)) as other, other.get("/v1/catalogue/snapshot") as response:
            assert (response.status, "Retry-After" in response.headers) == (503, True)

"""The load's client counts whole answers to sales that a box would take."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from appliance.domain.flags import flags
from appliance.domain.sale import parse_sale
from appliance.runtime.serving import listening
from bench.bare import make_app
from bench.client import answer_bytes, lookup_requests, payload_bytes, press, sale_requests
from bench.load import Job, Till
from bench.processes import Failed
from cloud.articles import make_articles

ARTICLES = list(make_articles(50, 1, random.Random(1)))
TILL = Till("till-7", "secret")
ANSWER = b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\nServer: x\r\n\r\nhello"


def test_the_sales_of_the_load_are_sales_that_add_up_each_under_an_id_of_its_own() -> None:
    requests = list(itertools.islice(sale_requests(TILL, ARTICLES, random.Random(1)), 100))

    sales = [parse_sale(request.partition(b"\r\n\r\n")[2]) for request in requests]

    assert {sale.till_id for sale in sales} == {"till-7"}
    assert not any(flags(sale) for sale in sales)
    assert {len(sale.lines) for sale in sales} == {8}
    ids = [sale.sale_id for sale in sales]
    assert sorted(set(ids)) == ids, "time-ordered, none twice"
    numbers = [sale.ticket_number for sale in sales]
    assert numbers == list(range(numbers[0], numbers[0] + 100))
    assert len({sale.ended_at for sale in sales}) == 1
    assert [sale.encode() for sale in sales] == [r.partition(b"\r\n\r\n")[2] for r in requests]


def test_a_request_of_the_load_tells_its_length() -> None:
    head, _, body = next(sale_requests(TILL, ARTICLES, random.Random(1))).partition(b"\r\n\r\n")

    assert f"Content-Length: {len(body)}".encode() in head.split(b"\r\n")


@pytest.mark.parametrize("received", range(len(ANSWER)))
def test_an_answer_is_whole_only_with_its_last_byte(received: int) -> None:
    whole = answer_bytes(ANSWER[:received])

    assert whole is None or whole > received


def test_the_length_of_an_answer_is_that_of_head_and_body() -> None:
    assert answer_bytes(ANSWER) == len(ANSWER)
    assert answer_bytes(ANSWER.replace(b"Content-Length", b"content-length")) == len(ANSWER)


def test_an_answer_without_a_length_fails_the_run() -> None:
    with pytest.raises(Failed, match="without a length"):
        answer_bytes(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n")


@pytest.mark.parametrize("lookups", [False, True])
async def test_the_load_counts_what_a_server_answers(lookups: bool) -> None:
    async with listening(make_app(), "127.0.0.1", 0) as port:
        done = await press(Job("127.0.0.1", port, 3, 0.05, [TILL], ARTICLES, lookups))

    assert 0 < done.answers <= done.served
    assert 0 < done.p50_ms <= done.p99_ms


async def test_a_paced_load_sends_when_its_time_has_come_and_not_when_it_could() -> None:
    async with listening(make_app(), "127.0.0.1", 0) as port:
        done = await press(Job("127.0.0.1", port, 4, 0.5, [TILL], ARTICLES, per_s=100))

    # 0.6 s with the warm-up; a client without a pace sends thousands.
    assert 20 <= done.served <= 100


async def test_a_wait_counts_from_when_the_request_was_due() -> None:
    first, asked = asyncio.Event(), 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal asked
        await request.read()
        asked += 1
        if asked == 3:
            asyncio.get_running_loop().call_later(0.5, first.set)
            await first.wait()
        return web.Response(status=201)

    app = web.Application()
    app.router.add_post("/v1/sales", answer)
    async with listening(app, "127.0.0.1", 0) as port:
        done = await press(Job("127.0.0.1", port, 1, 0.6, [TILL], ARTICLES, per_s=100))

    # One answer took 0.5 s of 0.7. What was due meanwhile waited too, though the server answered each at once.
    assert done.p50_ms > 20


def test_the_payload_is_the_body_of_a_sale() -> None:
    job = Job("", 0, 1, 0, [TILL], ARTICLES)
    one = next(sale_requests(TILL, ARTICLES, random.Random(1_000))).partition(b"\r\n\r\n")[2]

    assert abs(payload_bytes(job) - len(one)) < 50


async def test_an_answer_that_comes_in_pieces_is_one_answer() -> None:
    asked = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        await request.read()
        response = web.StreamResponse(status=201, headers={"Content-Length": "4"})
        await response.prepare(request)
        for piece in (b"ab", b"cd"):
            await response.write(piece)
            await asyncio.sleep(0)
        return response

    app = web.Application()
    app.router.add_post("/v1/sales", answer)
    async with listening(app, "127.0.0.1", 0) as port:
        done = await press(Job("127.0.0.1", port, 1, 0.05, [TILL], ARTICLES))

    # The last request may have been on its way when the time was up.
    assert done.served in (asked, asked - 1)


async def test_a_refused_sale_fails_the_run_and_says_why() -> None:
    async def refuse(_request: web.Request) -> web.Response:
        return web.Response(status=503, text="read-only")

    app = web.Application()
    app.router.add_post("/v1/sales", refuse)
    async with listening(app, "127.0.0.1", 0) as port:
        with pytest.raises(Failed, match=r"(?s)503.*read-only"):
            await press(Job("127.0.0.1", port, 2, 5.0, [TILL], ARTICLES))


async def test_a_server_that_hangs_up_fails_the_run(dropping_port: int) -> None:
    with pytest.raises((Failed, ConnectionError)):
        await press(Job("127.0.0.1", dropping_port, 2, 5.0, [TILL], ARTICLES))


@pytest.fixture
async def dropping_port() -> AsyncIterator[int]:
    """A server that closes every connection as soon as something comes."""

    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(drop, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def test_look_ups_ask_for_codes_of_the_catalogue() -> None:
    request = next(lookup_requests(TILL, ARTICLES, random.Random(1)))

    code = request.split()[1].removeprefix(b"/v1/articles?gtin=").decode()
    assert code in {code for article in ARTICLES for code in article.gtins}

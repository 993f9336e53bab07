"""The evidence for the tally, read from a real head office and from a real till's copies."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from appliance.domain.sale import Sale
from demo import books
from demo.books import Door, Reader, Unread, open_session, read_tickets
from demo.outages import PHASES, Count
from demo.tally import Told, judge
from demo.watch import Watch
from tests.fakes.clock import FakeClock
from tests.fakes.sales import a_line, a_sale
from tests.fakes.statuses import a_status
from tests.integration.cloud.conftest import Enrolled, World, a_world
from till.copy import open_copies
from till.wiring import COPIES_FILE


@dataclass
class Desk:
    """Head office with a box that it knows, and a reader of its books."""

    world: World
    box: Enrolled
    url: str
    reader: Reader

    async def sell_straight(self, sale: Sale) -> None:
        token = await self.world.till_token(till=sale.till_id)
        media = {"Content-Type": "application/json"}
        answer = await self.world.ask("POST", "/v1/sales", token, data=sale.encode(), headers=media)
        assert answer.status == 201

    async def bring(self, *sales: Sale) -> None:
        await self.box.receipt(self.box.box.pack(self.box.box.chain(sales)))


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with a_world(tmp_path / "cloud", FakeClock()) as world, open_session() as session:
        async with world.session.get("/") as answer:
            url = str(answer.url.origin())
        yield Desk(world, await world.enrolled(), url, Reader(session, Door(url, world.head_office)))


async def test_books_hold_what_came_over_both_ways(desk: Desk) -> None:
    by_box, straight = a_sale(), a_sale()
    await desk.bring(by_box)
    await desk.sell_straight(straight)

    read = await desk.reader.books()

    assert {(row.sale_id, row.via) for row in read.sales} == {
        (by_box.sale_id, "box"),
        (straight.sale_id, "till"),
    }
    (chain,) = read.chains
    assert (chain.box, chain.epoch, chain.seq) == (desk.box.box.name, 1, 1)


async def test_books_longer_than_a_page_are_read_whole(desk: Desk) -> None:
    sales = [a_sale(ticket_number=number) for number in range(1, books.PAGE // 2 + 1)]
    more = [a_sale(ticket_number=number, till_id="till-2") for number in range(1, books.PAGE // 2 + 2)]
    chain = desk.box.box.chain([*sales, *more])
    for first in range(0, len(chain), 500):
        await desk.box.receipt(desk.box.box.pack(chain[first : first + 500]))

    read = await desk.reader.books()

    assert len(read.sales) == len(read.chains[0].bodies) == books.PAGE + 1
    assert judge(
        [], Told(frozenset(row.sale_id for row in read.sales)), read, {p: Count() for p in PHASES}, []
    ).ok


async def test_boxes_that_never_sold_have_no_chain(desk: Desk) -> None:
    read = await desk.reader.books()

    assert (read.sales, read.chains) == ([], [])


async def test_a_wrong_token_is_no_empty_book(desk: Desk) -> None:
    async with open_session() as session:
        stranger = Reader(session, Door(desk.url, "wrong"))

        with pytest.raises(Unread, match="HTTP 401"):
            await stranger.books()


async def test_a_head_office_that_is_gone_is_no_empty_book() -> None:
    async with open_session() as session:
        with pytest.raises(Unread):
            await Reader(session, Door("http://127.0.0.1:9", "any")).books()


def _always(sale: Sale, number: int) -> Sale:
    return sale


async def test_copies_become_tickets(tmp_path: Path) -> None:
    plain = a_sale(till_id="T1")
    hiding = a_sale(till_id="T1", ticket_number=2, lines=[a_line(line_type="deposit")])
    state = tmp_path / "till"
    state.mkdir()
    async with open_copies(state / COPIES_FILE, "T1") as copies:
        for sale in (plain, hiding):
            await copies.take(partial(_always, sale), ask_cloud=True)
        await copies.synced(plain.sale_id, cloud_answer=b"{}")

        first, second = read_tickets([("T1", state), ("T2", tmp_path / "absent")])

    assert (first.sale_id, first.state, first.hides_operation) == (plain.sale_id, "synced", False)
    assert first.sha256 == hashlib.sha256(plain.encode()).hexdigest()
    assert (second.sale_id, second.state, second.hides_operation) == (hiding.sale_id, "pending", True)


class BoxStub:
    """A box that says what the test says, or nothing."""

    def __init__(self) -> None:
        self.backlog: int | None = 0

    async def answer(self, request: web.Request) -> web.Response:
        if self.backlog is None:
            return web.Response(status=503)
        return web.Response(body=msgspec.json.encode(a_status(self.backlog)), content_type="application/json")


async def test_a_watch_knows_when_all_is_drained_and_trusts_no_old_answer(
    desk: Desk, aiohttp_server: Callable[[web.Application], Awaitable[TestServer]]
) -> None:
    stub = BoxStub()
    app = web.Application()
    app.router.add_get("/v1/status", stub.answer)
    url = str((await aiohttp_server(app)).make_url("")).rstrip("/")
    async with open_session() as session:
        watch = Watch(lambda: Reader(session, Door(url, "any")), desk.reader, FakeClock())

        seen = []
        for stub.backlog in (3, 0, None):
            await watch.look()
            seen.append((watch.answers, watch.drained))

    assert seen == [(True, False), (True, True), (False, False)]
    assert watch.status == a_status(0)

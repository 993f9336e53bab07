"""One sale id, one sale, whichever ways it comes; another content under it stays visible."""

import msgspec
import pytest

from appliance.domain import digest, wire
from appliance.domain.event import Position
from appliance.domain.sale import SALE_BYTES_MAX, Sale
from tests.fakes.boxes import end_of
from tests.fakes.sales import a_line, a_sale, a_sale_json
from tests.integration.cloud.conftest import Answer, Enrolled, World

JSON = {"Content-Type": "application/json"}


async def sell(world: World, token: str, body: bytes) -> Answer:
    return await world.ask("POST", "/v1/sales", token, data=body, headers=JSON)


async def rows(world: World) -> list[wire.CloudSaleRow]:
    answer = await world.read("/v1/sales")
    return [msgspec.json.decode(line, type=wire.CloudSaleRow) for line in answer.body.splitlines()]


def other_content(sale: Sale) -> Sale:
    return a_sale(sale_id=sale.sale_id, lines=[a_line(unit_price_minor=1)])


async def test_a_sale_from_a_till_is_stored_once_however_often_it_comes(world: World) -> None:
    token, sale = await world.till_token(), a_sale()

    first = await sell(world, token, sale.encode())
    await world.clock.advance(60)
    again = await sell(world, token, sale.encode())

    assert (first.status, again.status) == (201, 200)
    assert first.body == again.body
    assert first.json()["status"] == "synced"
    assert [(row.sale_id, row.via, row.copies) for row in await rows(world)] == [(sale.sale_id, "till", 1)]


async def test_a_sale_by_box_and_by_till_is_one_sale(box: Enrolled) -> None:
    world, sale = box.world, a_sale()
    token = await world.till_token()

    await box.receipt(box.box.pack(box.box.chain([sale])))
    answer = await sell(world, token, sale.encode())

    assert answer.status == 200
    (row,) = await rows(world)
    assert (row.via, row.copies, row.total_minor) == ("box", 1, sale.total_minor)


async def test_a_sale_by_till_and_then_by_box_is_one_sale(box: Enrolled) -> None:
    world, sale = box.world, a_sale()
    await sell(world, await world.till_token(), sale.encode())

    await box.receipt(box.box.pack(box.box.chain([sale])))

    (row,) = await rows(world)
    assert (row.via, row.copies) == ("till", 1)
    assert (await world.read("/v1/exceptions")).json() == []


async def test_the_same_sale_twice_in_a_batch_and_again_in_a_new_epoch_is_one_sale(box: Enrolled) -> None:
    sale = a_sale()

    await box.receipt(box.box.pack(box.box.chain([sale, sale])))
    await box.receipt(box.box.pack(box.box.chain([sale], Position(2, 0, bytes(32)))))

    (row,) = await rows(box.world)
    assert row.copies == 2


async def test_another_content_under_a_known_id_is_a_conflict_and_both_stay_visible(world: World) -> None:
    token, sale = await world.till_token(), a_sale()
    other = other_content(sale)
    await sell(world, token, sale.encode())

    answers = [await sell(world, token, other.encode()) for _ in range(2)]

    assert [(a.status, a.problem) for a in answers] == [(409, "sale-conflict")] * 2
    (row,) = await rows(world)
    assert row.total_minor == sale.total_minor
    (exception,) = (await world.read("/v1/exceptions")).json()
    assert (exception["reason"], exception["sale_id"]) == ("sale-conflict", sale.sale_id)
    assert msgspec.convert(exception["content"], Sale) == other


async def test_a_conflict_in_a_batch_is_stored_and_becomes_an_exception(box: Enrolled) -> None:
    sale = a_sale()
    chain = box.box.chain([sale, other_content(sale)])
    await box.receipt(box.box.pack(chain[:1]))

    receipt = await box.receipt(box.box.pack(chain))

    assert receipt.position == end_of(chain)
    assert await box.stored() == [one.body for one in chain]
    (row,) = await rows(box.world)
    assert (row.total_minor, row.copies) == (sale.total_minor, 0)
    (exception,) = (await box.world.read("/v1/exceptions")).json()
    assert (exception["reason"], exception["box"], exception["seq"]) == ("sale-conflict", box.box.name, 2)


async def test_a_till_speaks_only_for_itself(world: World) -> None:
    token = await world.till_token(till="till-2")

    answer = await sell(world, token, a_sale(till_id="till-1").encode())

    assert (answer.status, answer.problem) == (403, "wrong-till")
    assert await rows(world) == []


async def test_a_new_token_replaces_the_tills_old_one_and_leaves_other_shops_alone(world: World) -> None:
    old, elsewhere = await world.till_token(), await world.till_token(shop="S043")
    new = await world.till_token()

    statuses = [(await sell(world, token, a_sale().encode())).status for token in (old, elsewhere, new)]

    assert statuses == [401, 201, 201]


@pytest.mark.parametrize(
    ("body", "status", "problem"),
    [
        (b"{", 400, "malformed"),
        (b'{"sale_id":"\xff"}', 400, "malformed"),
        (b'{"lines":[' + b"[" * 100_000, 422, "invalid-sale"),
        (b"[]", 422, "invalid-sale"),
        (a_sale_json(surprise=1), 422, "invalid-sale"),
        (a_sale_json(total_minor=1.5), 422, "invalid-sale"),
        (a_sale_json(ticket_number=2**70), 422, "invalid-sale"),
        (b" " * (SALE_BYTES_MAX + 1), 413, "too-large"),
    ],
)
async def test_what_is_no_sale_is_refused_with_a_reason(
    world: World, body: bytes, status: int, problem: str
) -> None:
    answer = await sell(world, await world.till_token(), body)

    assert (answer.status, answer.problem) == (status, problem)


async def test_sales_are_read_in_pages_that_join_without_seams(box: Enrolled) -> None:
    sales = [a_sale() for _ in range(25)]
    await box.receipt(box.box.pack(box.box.chain(list(reversed(sales)))))

    seen: list[str] = []
    while page := (await box.world.read(f"/v1/sales?limit=10&after={seen[-1] if seen else ''}")).lines():
        seen += [row["sale_id"] for row in page]

    assert seen == sorted(sale.sale_id for sale in sales)


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=x", "limit=99999999999999999999"])
async def test_a_page_size_that_is_none_is_refused(world: World, query: str) -> None:
    answer = await world.read(f"/v1/sales?{query}")

    assert (answer.status, answer.problem) == (400, "bad-input")


async def test_a_sale_that_was_altered_on_its_way_is_sent_back_and_not_stored(world: World) -> None:
    token, sale = await world.till_token(), a_sale()
    headers = JSON | {digest.HEADER: digest.digest_of(sale.encode())}
    altered = sale.encode().replace(b"1299", b"1298")

    answer = await world.ask("POST", "/v1/sales", token, data=altered, headers=headers)

    assert (answer.status, answer.problem) == (400, "altered")
    assert await rows(world) == []
    assert (await world.ask("POST", "/v1/sales", token, data=sale.encode(), headers=headers)).status == 201

"""The tills' API as a till meets it: over HTTP, on the whole box."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest
from openapi_spec_validator import validate

from appliance.api.app import ROUTES
from appliance.domain import digest
from appliance.domain.sale import SALE_BYTES_MAX, Tender
from appliance.domain.wire import Ack, SaleView, Status
from tests.fakes.sales import a_line, a_sale, a_sale_id, a_sale_json
from tests.integration.api.conftest import Shop, prepare

OPEN = {"/v1/hello", "/livez", "/readyz"}
# Open, too, but this one wants a body.
PAIR = "/v1/pair"
# The box itself may look at its own metrics, and tests come from there.
LOOPBACK = {"/metrics"}


async def test_a_new_sale_answers_201_and_a_replay_200_with_the_same_bytes(shop: Shop) -> None:
    body = a_sale_json()

    first = await shop.sell(body)
    again = await shop.sell(body)

    assert (first.status, again.status) == (201, 200)
    assert again.body == first.body
    assert msgspec.json.decode(first.body, type=Ack).status == "accepted"
    assert first.headers["Location"] == f"/v1/sales/{json.loads(body)['sale_id']}"


async def test_white_space_and_key_order_make_no_other_sale(shop: Shop) -> None:
    sale = json.loads(a_sale_json())

    await shop.sell(json.dumps(sale).encode())
    again = await shop.sell(json.dumps(dict(reversed(sale.items())), indent=2).encode())

    assert again.status == 200


async def test_the_same_id_with_other_content_answers_409_and_says_where_the_first_stands(shop: Shop) -> None:
    sale_id = a_sale_id()
    ack = (await shop.sell(a_sale_json(sale_id=sale_id))).json()

    answer = await shop.sell(a_sale_json(sale_id=sale_id, ticket_number=77))

    assert (answer.status, answer.problem) == (409, "sale-conflict")
    assert (answer.json()["epoch"], answer.json()["seq"]) == (ack["epoch"], ack["seq"])


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed"),
        (b"{", 400, "malformed"),
        (b"[" * 60_000, 422, "invalid-sale"),
        (b'\xff\xfe{"a":1}', 400, "malformed"),
        (b"[]", 422, "invalid-sale"),
        (a_sale_json(colour="red"), 422, "invalid-sale"),
        (a_sale_json(without=["tenders"]), 422, "invalid-sale"),
        (a_sale_json(sale_id="no-uuid"), 422, "invalid-sale"),
        (a_sale_json(total_minor=12.5), 422, "invalid-sale"),
        (a_sale_json(training=True), 422, "invalid-sale"),
        (a_sale_json(till_id="till-2"), 403, "wrong-till"),
        (b" " * (SALE_BYTES_MAX + 1), 413, "too-large"),
    ],
)
async def test_bad_input_is_refused_with_a_reason_and_stores_nothing(
    shop: Shop, body: bytes, status: int, code: str
) -> None:
    before = (await shop.ask("GET", "/v1/status")).json()["journal"]["seq"]

    answer = await shop.sell(body)

    assert (answer.status, answer.problem) == (status, code)
    assert (await shop.ask("GET", "/v1/status")).json()["journal"]["seq"] == before


async def test_a_sale_that_was_altered_on_its_way_is_sent_back_and_not_stored(shop: Shop) -> None:
    before = (await shop.ask("GET", "/v1/status")).json()["journal"]["seq"]

    answer = await shop.sell(a_sale_json(), headers={digest.HEADER: digest.digest_of(b"another")})

    assert (answer.status, answer.problem) == (400, "altered")
    assert (await shop.ask("GET", "/v1/status")).json()["journal"]["seq"] == before


@pytest.mark.parametrize(
    "headers", [{"Content-Type": "text/plain"}, {"Content-Encoding": "gzip"}, {"Content-Encoding": "zstd"}]
)
async def test_other_media_answer_415(shop: Shop, headers: dict[str, str]) -> None:
    answer = await shop.sell(a_sale_json(), headers=headers)

    assert (answer.status, answer.problem) == (415, "unsupported-media-type")


async def test_a_body_of_unknown_length_is_bounded_too(shop: Shop) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 32_768

    answer = await shop.ask("POST", "/v1/sales", data=chunks(), headers={"Content-Type": "application/json"})

    assert (answer.status, answer.problem) == (413, "too-large")


async def test_a_body_that_stalls_is_given_up(shop: Shop) -> None:
    host, port = shop.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/sales HTTP/1.1\r\nHost: box\r\nAuthorization: Bearer {shop.token}\r\n"
    writer.write(head.encode() + b"Content-Type: application/json\r\nContent-Length: 500\r\n\r\n{")

    answer = await reader.read(500)

    writer.close()
    await writer.wait_closed()
    assert b" 408 " in answer.splitlines()[0]


async def test_a_sale_that_does_not_add_up_is_acked_with_its_flags(shop: Shop) -> None:
    answer = await shop.sell(msgspec.json.encode(a_sale(tenders=[Tender("cash", 1)])))

    assert answer.status == 201
    assert answer.json()["flags"] == ["total-tenders"]


async def test_a_sale_can_be_looked_up(shop: Shop) -> None:
    sale = a_sale()
    ack = await shop.sell(msgspec.json.encode(sale))

    view = msgspec.json.decode((await shop.ask("GET", f"/v1/sales/{sale.sale_id}")).body, type=SaleView)

    assert view.sale == sale
    assert msgspec.json.encode(view.ack) == ack.body
    assert (await shop.ask("GET", f"/v1/sales/{a_sale_id()}")).problem == "not-found"


@pytest.mark.parametrize("token", ["", "wrong", "Bearer", "é" * 9])
async def test_nobody_unknown_gets_more_than_the_name(shop: Shop, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    for route in ROUTES:
        path = route.path.replace("{", "").replace("}", "")

        answer = await shop.ask(route.method, path, token="", headers=headers)

        if path in OPEN | LOOPBACK:
            assert answer.status == 200, path
        elif path == PAIR:
            assert answer.status == 415
        else:
            assert (answer.status, answer.problem) == (401, "unauthenticated"), path


async def test_a_new_token_works_at_once_and_ends_the_one_before(shop: Shop) -> None:
    _, token = await asyncio.to_thread(prepare, shop.config)

    assert (await shop.ask("GET", "/v1/status", token=token)).status == 200
    assert (await shop.ask("GET", "/v1/status")).status == 401


async def test_an_unknown_path_and_a_wrong_method_are_problems_too(shop: Shop) -> None:
    assert (await shop.ask("GET", "/nowhere")).problem == "not-found"
    assert (await shop.ask("DELETE", "/v1/sales")).problem == "method-not-allowed"


async def test_the_status_says_what_the_box_is_doing(shop: Shop) -> None:
    await shop.sell(a_sale_json())

    status = msgspec.json.decode((await shop.ask("GET", "/v1/status")).body, type=Status)

    assert (status.shop, status.sales_accepted, status.tills_seen) == ("S042", 1, 1)
    assert status.journal.seq == 3
    assert status.issues == []


async def test_metrics_are_what_prometheus_reads(shop: Shop) -> None:
    await shop.sell(a_sale_json())

    answer = await shop.ask("GET", "/metrics", token="")

    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert b"\nstorebox_sales_accepted_total 1.0\n" in answer.body
    assert b'\nstorebox_sales_flags_total{flag="ticket-gap"} 0.0\n' in answer.body
    assert b"\nstorebox_journal_seq 3.0\n" in answer.body


async def test_the_openapi_document_is_valid_and_names_every_route(shop: Shop) -> None:
    document = (await shop.ask("GET", "/openapi.json")).json()

    validate(document)
    described = {(method.upper(), path) for path, calls in document["paths"].items() for method in calls}
    assert described == {(route.method, route.path) for route in ROUTES}


async def test_the_box_comes_online_and_drains_to_the_head_office(shop: Shop) -> None:
    sale = a_sale()
    await shop.sell(msgspec.json.encode(sale))

    await shop.come_online()
    await shop.drained()

    rows = (await shop.office.read("/v1/sales")).lines()
    assert [row["sale_id"] for row in rows] == [sale.sale_id]
    assert (await shop.ask("GET", f"/v1/sales/{sale.sale_id}")).json()["synced"] is True


async def test_an_online_only_operation_is_refused_offline_and_passed_on_online(shop: Shop) -> None:
    body = json.dumps({"operation_id": a_sale_id(), "data": {"to_shop": "S043"}}).encode()
    call: dict[str, Any] = {"data": body, "headers": {"Content-Type": "application/json"}}

    refused = await shop.ask("POST", "/v1/operations/transfer", **call)
    assert (refused.status, refused.problem) == (503, "online-only")
    assert refused.json()["sentence"].keys() == {"fr", "en"}

    await shop.come_online()
    passed = await shop.ask("POST", "/v1/operations/transfer", **call)
    assert passed.status == 201
    assert (await shop.ask("POST", "/v1/operations/no_such_thing", **call)).problem == "not-found"


async def test_an_online_only_operation_hidden_in_a_sale_is_refused_offline(shop: Shop) -> None:
    sale = a_sale(lines=[a_line(), a_line(line_type="credit_note")])

    answer = await shop.sell(msgspec.json.encode(sale))

    assert (answer.status, answer.problem) == (503, "online-only")
    assert answer.json()["operation"] == "credit_note"


async def test_events_tell_the_mode_the_synced_head_and_the_catalogue(shop: Shop) -> None:
    headers = {"Authorization": f"Bearer {shop.token}"}
    async with shop.session.get(shop.url + "/v1/events", headers=headers) as stream:
        topics: dict[str, dict[str, Any]] = {}
        while topics.keys() != {"mode", "synced", "catalogue"}:
            name, data = await _next_event(stream)
            topics[name] = data
        assert topics["mode"]["mode"] == "local"

        await shop.come_online()
        seen: list[tuple[str, dict[str, Any]]] = []
        while not seen or seen[-1][1].get("mode") != "cloud":
            seen.append(await _next_event(stream))


async def _next_event(stream: aiohttp.ClientResponse) -> tuple[str, dict[str, Any]]:
    name = ""
    while True:
        line = (await stream.content.readline()).decode().strip()
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        if line.startswith("data: "):
            return name, json.loads(line.removeprefix("data: "))

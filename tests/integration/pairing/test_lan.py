"""The box's LAN side as a till and a stranger meet it: pairing, and what each of them may do."""

import asyncio
from pathlib import Path

import aiohttp
import msgspec
import pytest

from appliance.api.app import ROUTES
from appliance.config import Limits
from appliance.domain.pairing import Observation, PairingView, TillName, TillRecord, TillView, read_payload
from appliance.domain.wire import Status
from appliance.runtime.certificates import key_spki, private_pem
from appliance.runtime.tls import pinned_context
from tests.fakes.sales import a_sale_json
from tests.integration.pairing.conftest import LanTill, TlsShop, a_tls_shop, as_json

# What D12 gives to who is not paired; /metrics is also for the box itself, where these tests are.
STRANGERS = {"/v1/hello", "/livez", "/readyz"}
ATTACKER = ("127.0.0.2", 0)


async def test_a_till_pairs_and_sells_over_tls(shop: TlsShop) -> None:
    assert shop.url.startswith("https://127.0.0.1:")
    till = await shop.paired("till-1")

    sold = await till.ask(
        "POST", "/v1/sales", data=a_sale_json(), headers={"Content-Type": "application/json"}
    )

    assert sold.status == 201
    assert (await till.ask("GET", "/v1/status")).status == 200


async def test_many_sales_go_the_short_way_on_one_connection(shop: TlsShop) -> None:
    till = await shop.paired("till-1")
    assert till.answer is not None
    headers = {"Authorization": f"Bearer {till.answer.token}", "Content-Type": "application/json"}

    async with till.session() as session:
        for number in range(5):
            body = a_sale_json(ticket_number=number + 1)
            async with session.post("/v1/sales", data=body, headers=headers) as answer:
                assert answer.status == 201
                assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_nobody_unpaired_gets_more_than_the_name_and_pairing(shop: TlsShop) -> None:
    stranger = shop.till()
    for route in ROUTES:
        path = route.path.replace("{", "").replace("}", "")
        answer = await stranger.ask(route.method, path, **as_json({}))

        if path in STRANGERS:
            assert answer.status == 200, path
        elif path == "/v1/pair":
            assert (answer.status, answer.problem) == (400, "malformed")
        elif path != "/metrics":
            assert (answer.status, answer.problem) == (401, "unauthenticated"), path


async def test_a_stolen_token_is_nothing_without_the_tills_key(shop: TlsShop) -> None:
    till, thief = await shop.paired("T1"), await shop.paired("T2")
    assert till.answer is not None

    bare = await till.ask("GET", "/v1/status", context=pinned_context(shop.identity.spki))
    in_his_own_name = await thief.ask("GET", "/v1/status", token=till.answer.token)

    for answer in (bare, in_his_own_name):
        assert (answer.status, answer.problem) == (401, "unauthenticated")


async def test_a_certificate_of_somebody_else_opens_no_connection(shop: TlsShop, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    async with a_tls_shop(tmp_path / "other") as other:
        stranger = await other.paired("T1")
        assert stranger.answer is not None
        identity = (private_pem(stranger.key), stranger.answer.certificate.encode())

        with pytest.raises(aiohttp.ClientError):
            await shop.till().ask("GET", "/v1/hello", context=pinned_context(shop.identity.spki, identity))


async def test_a_token_from_before_tls_is_good_for_nothing(tmp_path: Path) -> None:
    async with a_tls_shop(tmp_path) as shop:
        book = shop.config.state / "tills.json"
        rows = msgspec.json.decode(await asyncio.to_thread(book.read_bytes))
        assert [row["till"] for row in rows] == ["console"]
        till = await shop.paired("T1")
        console = await asyncio.to_thread((shop.config.state / "console-token").read_text)

        # The console's own token is bound to no key, and no till may come by it with its certificate.
        assert (await till.ask("GET", "/v1/tills", token=console)).status == 401
        assert (await shop.console("GET", "/v1/tills")).status == 200


async def test_a_revoked_till_is_refused_on_the_connection_that_it_holds(shop: TlsShop) -> None:
    till = await shop.paired("T1")
    assert till.answer is not None
    headers = {"Authorization": f"Bearer {till.answer.token}"}
    async with till.session() as session, session.get("/v1/events", headers=headers) as stream:
        await stream.content.readline()
        async with till.session() as other:
            async with other.get("/v1/status", headers=headers) as answer:
                assert answer.status == 200
            assert (await shop.console("DELETE", "/v1/tills/T1")).status == 204
            async with other.get("/v1/status", headers=headers) as answer:
                assert answer.status == 401
        await stream.content.read()  # ends

    assert (await shop.console("DELETE", "/v1/tills/T1")).problem == "not-found"


async def test_the_console_lists_and_renames_and_a_till_may_not(shop: TlsShop) -> None:
    till = await shop.paired("T1")

    renamed = await shop.console("PATCH", "/v1/tills/T1", TillName("Terrasse"))
    listed = msgspec.json.decode((await shop.console("GET", "/v1/tills")).body, type=list[TillView])

    assert renamed.status == 200
    assert [(view.till, view.name, view.by) for view in listed] == [("T1", "Terrasse", "technician")]
    for route in ROUTES:
        if route.access == "console":
            path = route.path.replace("{", "").replace("}", "")
            refused = await till.ask(route.method, path, **as_json({}))
            assert (refused.status, refused.problem) == (403, "not-allowed"), path


async def test_the_window_over_http(shop: TlsShop) -> None:
    assert (await shop.console("GET", "/v1/pairing")).problem == "not-found"
    for minutes in (0, 61):
        assert (await shop.console("POST", "/v1/pairing", {"minutes": minutes})).problem == "malformed"
    opened = msgspec.json.decode((await shop.console("POST", "/v1/pairing", {})).body, type=PairingView)
    said = read_payload(opened.payload)
    assert said.addresses == [shop.url.removeprefix("https://")]

    wrong = await shop.till().pair("wrong")
    assert (wrong.status, wrong.problem, wrong.json()["tries_left"]) == (403, "pairing-refused", 4)
    assert (await shop.console("DELETE", "/v1/pairing")).status == 204
    assert (await shop.till().pair(said.secret)).problem == "pairing-closed"


async def test_a_till_of_the_box_before_pairs_without_a_code(tmp_path: Path) -> None:
    key = (await asyncio.to_thread(LanTill, "", "")).key
    async with a_tls_shop(tmp_path, tills=[TillRecord("T1", "Caisse 1", key_spki(key))]) as shop:
        till = shop.till("T1")
        assert (await till.pair()).problem == "pairing-closed"
        till.key = key

        assert (await till.pair()).status == 201
        assert (await till.ask("GET", "/v1/status")).status == 200
        assert (await till.pair()).problem == "pairing-closed"


async def test_browsers_are_refused_whatever_they_ask(shop: TlsShop) -> None:
    till = await shop.paired("till-1")
    for method, path in (
        ("GET", "/v1/hello"),
        ("POST", "/v1/sales"),
        ("OPTIONS", "/v1/sales"),
        ("GET", "/nowhere"),
    ):
        for origin in ("https://evil.example", "null"):
            answer = await till.ask(method, path, headers={"Origin": origin})
            assert (answer.status, answer.problem) == (403, "browser-refused")
            assert "Access-Control-Allow-Origin" not in answer.headers


async def test_each_answer_bears_the_strict_headers(shop: TlsShop) -> None:
    for path in ("/v1/hello", "/nowhere", "/v1/status"):
        headers = (await shop.till().ask("GET", path)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Server"] == "storebox"
        assert headers["Strict-Transport-Security"] == "max-age=31536000"


async def test_tries_to_pair_are_bounded_by_address_and_a_till_beside_is_not(tmp_path: Path) -> None:
    async with a_tls_shop(tmp_path, limits=Limits(pairing_burst=3, unpaired_burst=4)) as shop:
        till = await shop.paired("T1")
        attacker = aiohttp.TCPConnector(ssl=pinned_context(shop.identity.spki), local_addr=ATTACKER)
        async with aiohttp.ClientSession(shop.url, connector=attacker) as session:
            seen = []
            for _ in range(5):
                async with session.post("/v1/pair", **as_json({})) as answer:
                    seen.append((answer.status, answer.headers.get("Retry-After")))
            assert seen == [(400, None)] * 3 + [(429, "1")] * 2
            guesses = []
            for path in (
                "/v1/status",
                "/v1/hello",
                "/nowhere",
                "/livez",
                "/v1/status",
                "/v1/hello",
                "/nowhere",
            ):
                async with session.get(path, headers={"Authorization": "Bearer guess"}) as answer:
                    guesses.append(answer.status)
            assert guesses == [401, 200, 404, 200, 429, 429, 429]

        assert (await till.ask("GET", "/v1/status")).status == 200


async def test_a_till_that_asks_too_often_is_slowed_down_on_both_ways(tmp_path: Path) -> None:
    limits = Limits(per_till_per_s=1, per_till_burst=3)
    async with a_tls_shop(tmp_path, limits=limits) as shop:
        till, other = await shop.paired("till-1"), await shop.paired("till-2")
        body = msgspec.json.decode(a_sale_json())

        short = [(await till.ask("POST", "/v1/sales", **as_json(body))).status for _ in range(4)]

        assert short == [201, 200, 200, 429]
        assert (await till.ask("GET", "/v1/status")).problem == "too-many"
        assert (await other.ask("GET", "/v1/status")).status == 200


async def test_what_tills_see_of_the_box_is_told(shop: TlsShop) -> None:
    till = await shop.paired("T1")

    for _ in range(2):
        told = await till.ask("POST", "/v1/observations", **as_json(Observation("unseen", "list")))
        assert told.status == 204
    status = msgspec.json.decode((await till.ask("GET", "/v1/status")).body, type=Status)
    assert status.issues == ["multicast-blocked"]

    await till.ask("POST", "/v1/observations", **as_json(Observation("seen", "mdns")))
    status = msgspec.json.decode((await till.ask("GET", "/v1/status")).body, type=Status)
    assert status.issues == []

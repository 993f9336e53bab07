"""Probes, heartbeats, policy, operations, and the fleet as JSON and as a page."""

import re

import msgspec
import pytest

from appliance.domain import wire
from appliance.domain.gate import Policy
from appliance.domain.health import MachineView
from appliance.domain.statements import POLICY_TYPE, PROBE_TYPE, ProbeAnswer, verify
from cloud.wiring import open_office
from tests.fakes.boxes import LooseBox
from tests.fakes.sales import a_sale_id
from tests.integration.cloud.conftest import Answer, Enrolled, World

JSON = {"Content-Type": "application/json"}
NONCE = "0123456789abcdef" * 2


async def operate(box: Enrolled, name: str, operation_id: str, data: object) -> Answer:
    body = msgspec.json.encode({"operation_id": operation_id, "data": data})
    return await box.post(f"operations/{name}", body, "application/json")


async def replace_policy(world: World, text: bytes) -> Policy:
    async with open_office(world.settings, world.clock) as office:
        return await office.policy.replace(text)


# --- probes


async def test_a_probe_is_answered_with_its_nonce_signed(box: Enrolled) -> None:
    answer = await box.post("probe", msgspec.json.encode(wire.ProbeRequest(NONCE)), "application/json")

    proof = verify(answer.body, PROBE_TYPE, ProbeAnswer, box.cloud)
    assert (answer.status, proof.box, proof.nonce) == (200, box.box.name, NONCE)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"nonce":"x"}', b'{"nonce":"%s","more":1}' % NONCE.encode()])
async def test_a_probe_that_cannot_be_read_is_refused(box: Enrolled, body: bytes) -> None:
    answer = await box.post("probe", body, "application/json")

    assert (answer.status, answer.problem) == (400, "malformed")


# --- heartbeats and the fleet


async def test_a_heartbeat_is_kept_and_answered_with_what_is_new(box: Enrolled) -> None:
    answer = await box.beat(seq=7)

    assert msgspec.json.decode(answer.body, type=wire.HeartbeatAnswer) == wire.HeartbeatAnswer(10.0, 0, 1)
    (row,) = (await box.world.read("/v1/fleet")).json()
    assert row["beat"]["seq"] == 7
    assert row["verdict"] == {"grade": "healthy", "reason": "all-well"}


async def test_a_box_that_was_never_heard_is_unknown(box: Enrolled) -> None:
    (row,) = (await box.world.read("/v1/fleet")).json()

    assert (row["verdict"], row["beat"]) == ({"grade": "unknown", "reason": "never-seen"}, None)


async def test_a_box_that_falls_silent_is_unhealthy(box: Enrolled) -> None:
    await box.beat()
    await box.world.clock.advance(91)

    (row,) = (await box.world.read("/v1/fleet")).json()

    assert (row["verdict"], row["silent_s"]) == ({"grade": "unhealthy", "reason": "silent"}, 91.0)


async def test_a_heartbeat_must_be_signed_by_the_box_it_is_of(box: Enrolled) -> None:
    stranger = LooseBox()

    forged = await box.post("heartbeat", stranger.heartbeat(box=box.box.name), wire.ENVELOPE_MEDIA)
    foreign = await box.post("heartbeat", box.box.heartbeat(box="sb-other"), wire.ENVELOPE_MEDIA)

    assert (forged.status, forged.problem) == (403, "bad-signature")
    assert (foreign.status, foreign.problem) == (403, "bad-signature")
    assert (await box.world.read("/v1/fleet")).json()[0]["beat"] is None


async def test_the_page_shows_each_box_with_its_verdict_in_words(box: Enrolled) -> None:
    await box.receipt(box.box.pack(box.box.notes(3)))
    await box.beat(seq=5, backlog=2, oldest_waiting_s=400.0)

    page = (await box.world.read("/")).body.decode()

    assert "Nantes Centre" in page
    assert box.box.name in page
    assert "À surveiller" in page
    assert "des ventes attendent alors que la ligne fonctionne" in page
    assert "3 / 5" in page
    assert "le plus ancien\N{NO-BREAK SPACE}: 6\N{NO-BREAK SPACE}min" in page


async def test_the_page_names_the_flags_of_a_boxs_sales(box: Enrolled) -> None:
    await box.beat()
    assert "Ventes signalées" not in (await box.world.read("/")).body.decode()
    await box.beat(flags={"ticket-gap": 1, "ticket-number-reused": 2, "of-later": 1, "line-net": 0})

    page = (await box.world.read("/?lang=en")).body.decode()

    assert "Flagged sales: ticket number used twice (2), of-later (1), ticket numbers missing (1)<" in page


async def test_the_page_tells_how_much_a_box_writes_to_its_card(box: Enrolled) -> None:
    await box.beat()
    assert "MB written" not in (await box.world.read("/?lang=en")).body.decode()
    await box.beat(machine=MachineView(written_day_bytes=143_400_000))

    assert "<small>143 MB written a day</small>" in (await box.world.read("/?lang=en")).body.decode()


async def test_the_page_speaks_french_unless_english_is_asked_for(world: World) -> None:
    async def language(path: str, accepted: str) -> str:
        page = await world.ask("GET", path, world.head_office, headers={"Accept-Language": accepted})
        found = re.search('<html lang="(..)">', page.body.decode())
        assert found
        return found[1]

    assert await language("/", "") == "fr"
    assert await language("/", "de-DE,de;q=0.9") == "fr"
    assert await language("/", "en-GB,en;q=0.9,fr;q=0.8") == "en"
    assert await language("/?lang=en", "fr") == "en"
    assert await language("/?lang=fr", "en") == "fr"
    assert await language("/?lang=xx", "en") == "en"


async def test_the_page_takes_nothing_from_elsewhere_and_runs_no_script(world: World) -> None:
    answer = await world.read("/")
    page, policy = answer.body.decode(), answer.headers["Content-Security-Policy"]

    nonce = re.search("style-src 'nonce-([^']+)'", policy)
    assert nonce
    assert policy.startswith("default-src 'none';")
    assert f'<style nonce="{nonce[1]}">' in page
    assert "<script" not in page
    assert "src=" not in page
    assert (await world.read("/")).headers["Content-Security-Policy"] != policy


async def test_what_a_box_says_cannot_break_the_page(box: Enrolled) -> None:
    await box.beat(
        software="<script>alert(1)</script>",
        link="<b>",
        cause="?",
        mode="?",
        issues=["<img src=x>"],
        seq=2**80,
        backlog=10**30,
        oldest_waiting_s=1e308,
    )

    answer = await box.world.read("/")

    assert answer.status == 200
    assert b"<script" not in answer.body
    assert b"<img" not in answer.body


async def test_only_the_last_heartbeats_are_kept(box: Enrolled) -> None:
    for number in range(130):
        await box.beat(seq=number)

    async with (
        open_office(box.world.settings, box.world.clock) as office,
        office.database.reading() as connection,
    ):
        kept = (await connection.exec_driver_sql("SELECT count(*) FROM heartbeat")).scalar_one()

    assert kept == 120
    assert (await box.world.read("/v1/fleet")).json()[0]["beat"]["seq"] == 129


# --- policy


async def test_a_new_policy_is_handed_out_signed(box: Enrolled) -> None:
    rule = {"fr": "Non.", "en": "No.", "line_types": ["deposit"]}

    await replace_policy(box.world, msgspec.json.encode({"online_only": {"deposit": rule}}))

    answer = await box.world.ask("GET", "/v1/policy", box.token)
    policy = verify(answer.body, POLICY_TYPE, Policy, box.cloud)
    assert (policy.version, list(policy.online_only)) == (2, ["deposit"])
    assert (await box.beat()).json()["policy_version"] == 2


async def test_a_policy_that_changes_nothing_keeps_its_version(world: World) -> None:
    text = msgspec.json.encode({"online_only": {"deposit": {"fr": "Non.", "en": "No."}}})

    versions = [(await replace_policy(world, text)).version for _ in range(2)]

    assert versions == [2, 2]


# --- operations


async def test_an_operation_is_done_once_however_often_it_is_asked(box: Enrolled) -> None:
    operation_id = a_sale_id()

    first = await operate(box, "deposit", operation_id, {"amount_minor": 500})
    await box.world.clock.advance(5)
    again = await operate(box, "deposit", operation_id, {"amount_minor": 500})

    assert (first.status, again.status) == (201, 200)
    assert first.body == again.body
    listed = (await box.world.read("/v1/operations")).lines()
    assert [row["operation_id"] for row in listed] == [operation_id]


async def test_another_operation_under_a_known_id_is_a_conflict(box: Enrolled) -> None:
    operation_id = a_sale_id()
    await operate(box, "deposit", operation_id, {"amount_minor": 500})

    data = await operate(box, "deposit", operation_id, {"amount_minor": 501})
    name = await operate(box, "credit_note", operation_id, {"amount_minor": 500})

    assert (data.status, data.problem) == (409, "operation-conflict")
    assert (name.status, name.problem) == (409, "operation-conflict")


@pytest.mark.parametrize(
    ("name", "data"),
    [("no_such_thing", {}), ("deposit", {"amount_minor": 0}), ("credit_note", {"amount_minor": "5"})],
)
async def test_what_head_office_would_not_do_is_rejected(box: Enrolled, name: str, data: object) -> None:
    answer = await operate(box, name, a_sale_id(), data)

    assert (answer.status, answer.problem) == (422, "operation-rejected")
    assert (await box.world.read("/v1/operations")).lines() == []


async def test_a_till_may_ask_for_operations_itself(world: World) -> None:
    body = msgspec.json.encode({"operation_id": a_sale_id()})

    answer = await world.ask(
        "POST", "/v1/operations/daily_closing", await world.till_token(), data=body, headers=JSON
    )

    assert answer.status == 201


@pytest.mark.parametrize("body", [b"", b"[]", b'{"operation_id":"x"}', b'{"operation_id":1}'])
async def test_an_operation_that_cannot_be_read_is_refused(box: Enrolled, body: bytes) -> None:
    answer = await box.post("operations/deposit", body, "application/json")

    assert (answer.status, answer.problem) == (400, "malformed")

"""Claims, revocation, pairing orders, the locator, lists of tills and the audit, over HTTP."""

from typing import Any

import msgspec
import pytest
from sqlalchemy import update

from appliance.domain.dsse import spki_fingerprint
from appliance.domain.enrolling import read_claim
from appliance.domain.pairing import read_payload
from appliance.domain.wire import HeartbeatAnswer
from cloud import tables
from cloud.wiring import open_office
from tests.fakes.boxes import LooseBox
from tests.integration.cloud.conftest import Answer, Enrolled, World

SPKI = "A" * 43
TILL = {"till": "T1", "name": "Caisse 1", "spki": "B" * 43}


async def post(world: World, path: str, token: str, body: Any) -> Answer:
    return await world.ask("POST", path, token, json=body)


async def order_claim(world: World, token: str, **order: Any) -> Answer:
    return await post(world, "/v1/claims", token, {"shop": "S042", **order})


async def give_tls_key(box: Enrolled) -> None:
    """As enrolment over TLS leaves it."""
    async with open_office(box.world.settings, box.world.clock) as office:

        async def work(connection: Any) -> None:
            await connection.execute(update(tables.box).values(tls_spki=SPKI))

        await office.database.transaction(work)


async def audited(world: World) -> list[tuple[str, str, str]]:
    rows = (await world.read("/v1/audit")).json()
    return [(row["who"], row["action"], row["subject"]) for row in rows]


# --- claims


async def test_a_technician_gets_a_claim_for_his_shop_and_a_box_enters_with_it(world: World) -> None:
    answer = await order_claim(world, await world.technician_token(), name="Nantes")

    assert (answer.status, answer.json()["shop"]) == (201, "S042")
    claim = read_claim(answer.json()["claim"])
    enrolled = await world.post_enrolment(LooseBox().enrolment(claim.secret))
    assert (enrolled.status, enrolled.json()["shop_name"]) == (201, "Nantes")


async def test_a_technician_gets_no_claim_for_another_shop(world: World) -> None:
    token = await world.technician_token("S001")

    answer = await order_claim(world, token)

    assert (answer.status, answer.problem) == (403, "not-allowed")


@pytest.mark.parametrize(
    "order", [{"minutes": 11}, {"minutes": 0}, {"key_hash": "x"}, {"shop": ""}, {"more": 1}]
)
async def test_a_claim_that_cannot_be_given_is_refused(world: World, order: dict[str, Any]) -> None:
    answer = await order_claim(world, world.head_office, **order)

    assert (answer.status, answer.problem) == (400, "malformed")


async def test_tills_and_boxes_get_no_claims(box: Enrolled) -> None:
    for token in (box.token, await box.world.till_token()):
        answer = await order_claim(box.world, token)
        assert (answer.status, answer.problem) == (403, "not-allowed")


async def test_no_claim_is_given_to_replace_an_unknown_box_or_one_of_another_shop(box: Enrolled) -> None:
    unknown = await order_claim(box.world, box.world.head_office, replaces="sb-nobody")
    elsewhere = await order_claim(box.world, box.world.head_office, shop="S001", replaces=box.box.name)

    assert (unknown.status, unknown.problem) == (404, "not-found")
    assert (elsewhere.status, elsewhere.problem) == (400, "bad-input")


# --- revocation


async def test_a_revoked_box_stands_as_such_and_is_audited_once(box: Enrolled) -> None:
    path = f"{box.path}/revocation"
    technician = await box.world.technician_token()

    first = await post(box.world, path, technician, {"reason": "stolen"})
    second = await post(box.world, path, box.world.head_office, {"reason": "again"})

    assert (first.status, second.status) == (204, 204)
    (view,) = (await box.world.read("/v1/boxes")).json()
    assert view["state"] == "revoked"
    assert view["revoked_at"]
    rows = [row for row in await audited(box.world) if row[1] == "box-revoked"]
    assert rows == [("technician S042 ana", "box-revoked", box.box.name)]


async def test_a_revoked_box_says_nothing_any_more_and_hears_why_also_without_tls(box: Enrolled) -> None:
    await post(box.world, f"{box.path}/revocation", box.world.head_office, {"reason": "stolen"})

    answer = await box.beat()

    assert (answer.status, answer.problem) == (403, "box-revoked")


async def test_a_box_of_another_shop_cannot_be_revoked(box: Enrolled) -> None:
    token = await box.world.technician_token("S001")

    answer = await post(box.world, f"{box.path}/revocation", token, {"reason": "mine"})
    unknown = await post(box.world, "/v1/boxes/sb-nobody/revocation", token, {"reason": "mine"})

    assert (answer.status, answer.problem) == (403, "not-allowed")
    assert (unknown.status, unknown.problem) == (404, "not-found")


# --- the list of boxes


async def test_a_technician_sees_the_boxes_of_his_shop_alone(box: Enrolled) -> None:
    other = await box.world.enrolled(shop="S001", name="Brest")

    mine = (await box.world.ask("GET", "/v1/boxes", await box.world.technician_token())).json()
    every = (await box.world.read("/v1/boxes")).json()

    assert [view["box"] for view in mine] == [box.box.name]
    assert {view["box"] for view in every} == {box.box.name, other.box.name}
    assert mine[0]["fp"] == spki_fingerprint(box.box.signer.public_key)
    assert mine[0]["state"] == "never-seen"


# --- pairing orders


async def test_a_pairing_order_is_told_at_each_heartbeat_until_it_ends(box: Enrolled) -> None:
    await give_tls_key(box)
    await box.beat(addresses=["192.168.1.7", "fd00::7"], port=8480)

    answer = await post(box.world, f"{box.path}/pairing", box.world.head_office, {"minutes": 10})

    assert answer.status == 201, answer.body
    invitation = read_payload(answer.json()["payload"])
    assert (invitation.box, invitation.spki, invitation.shop) == (box.box.name, SPKI, "Nantes Centre")
    assert invitation.addresses == ["192.168.1.7:8480", "[fd00::7]:8480"]
    await box.world.clock.advance(60)
    told = msgspec.json.decode((await box.beat()).body, type=HeartbeatAnswer).pairing
    assert told is not None
    assert (told.secret, told.left_s) == (invitation.secret, 540.0)
    await box.world.clock.advance(541)
    assert msgspec.json.decode((await box.beat()).body, type=HeartbeatAnswer).pairing is None
    assert invitation.secret not in (await box.world.read("/v1/audit")).body.decode()


async def test_a_box_that_never_said_where_it_is_gets_no_pairing_order(box: Enrolled) -> None:
    await give_tls_key(box)

    answer = await post(box.world, f"{box.path}/pairing", box.world.head_office, {})

    assert (answer.status, answer.problem) == (503, "not-ready")


# --- the locator


async def test_a_till_of_the_shop_learns_where_its_box_is(box: Enrolled) -> None:
    await give_tls_key(box)
    await box.beat(addresses=["192.168.1.7"], port=8480)
    await box.world.clock.advance(7)

    place = (await box.world.ask("GET", f"/v1/locator/{box.box.name}", await box.world.till_token())).json()

    assert (place["addresses"], place["port"], place["spki"]) == (["192.168.1.7"], 8480, SPKI)
    assert (place["heard_s"], place["succession"]) == (7.0, None)


async def test_nobody_else_learns_where_a_box_is(box: Enrolled) -> None:
    path = f"/v1/locator/{box.box.name}"
    stranger = await box.world.till_token("S001", "till-1")

    foreign = await box.world.ask("GET", path, stranger)
    technician = await box.world.ask("GET", path, await box.world.technician_token())

    assert (foreign.status, foreign.problem) == (404, "not-found")
    assert (technician.status, technician.problem) == (403, "not-allowed")


# --- tills


async def test_a_box_hands_in_its_tills_and_no_other_box_does(box: Enrolled) -> None:
    other = await box.world.enrolled()

    own = await box.world.ask("PUT", f"{box.path}/tills", box.token, json=[TILL])
    foreign = await box.world.ask("PUT", f"{box.path}/tills", other.token, json=[TILL])
    double = await box.world.ask("PUT", f"{box.path}/tills", box.token, json=[TILL, TILL])
    too_many = await box.world.ask(
        "PUT", f"{box.path}/tills", box.token, json=[{**TILL, "till": f"T{n}"} for n in range(257)]
    )

    assert (own.status, foreign.status) == (204, 403)
    assert (double.status, double.problem) == (400, "bad-input")
    assert (too_many.status, too_many.problem) == (400, "malformed")


# --- the audit


async def test_the_audit_tells_who_made_a_claim_and_is_for_head_office_alone(world: World) -> None:
    technician = await world.technician_token()
    made = (await order_claim(world, technician)).json()

    answer = await world.ask("GET", "/v1/audit", technician)
    rows = await audited(world)

    assert (answer.status, answer.problem) == (403, "not-allowed")
    assert [row[:2] for row in rows][-1] == ("technician S042 ana", "claim-made")
    assert read_claim(made["claim"]).secret not in (await world.read("/v1/audit")).body.decode()


async def test_the_audit_is_read_in_pages(box: Enrolled) -> None:
    other = await box.world.enrolled()
    for one in (box, other):
        await post(box.world, f"{one.path}/revocation", box.world.head_office, {"reason": "old"})
    rows = (await box.world.read("/v1/audit")).json()

    page = (await box.world.read(f"/v1/audit?after={rows[0]['number']}&limit=1")).json()

    assert page == rows[1:2]

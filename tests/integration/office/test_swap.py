"""A dead box and the one in its place: one transaction, one signed statement, and no second successor."""

from typing import Any

import msgspec

from appliance.domain.dsse import spki_fingerprint
from appliance.domain.enrolling import EnrolAnswer, Place, read_claim
from appliance.domain.keychain import Succession
from appliance.domain.pairing import TillRecord
from appliance.domain.statements import SUCCESSION_TYPE, verify
from tests.fakes.boxes import LooseBox
from tests.integration.cloud.conftest import Answer, Enrolled, World

TILLS = [TillRecord("T1", "Caisse 1", "A" * 43), TillRecord("T2", "", "B" * 43)]


async def swap_claim(world: World, old: str, token: str | None = None, **order: Any) -> Answer:
    body = {"shop": "S042", "replaces": old, **order}
    return await world.ask("POST", "/v1/claims", token or world.head_office, json=body)


async def swapped(old: Enrolled, new: LooseBox) -> tuple[Answer, str]:
    """The old box handed in its tills; then the new one enrols in its place."""
    world = old.world
    tills = msgspec.to_builtins(TILLS)
    assert (await world.ask("PUT", f"{old.path}/tills", old.token, json=tills)).status == 204
    made = await swap_claim(world, old.box.name, await world.technician_token())
    assert made.status == 201, made.body
    secret = read_claim(made.json()["claim"]).secret
    return await world.post_enrolment(new.enrolment(secret)), secret


async def test_a_new_box_gets_shop_tills_and_a_statement_that_it_follows_the_old_one(box: Enrolled) -> None:
    new = LooseBox()

    answer, _ = await swapped(box, new)

    view = msgspec.json.decode(answer.body, type=EnrolAnswer)
    assert (view.shop, view.shop_name, view.tills) == ("S042", "Nantes Centre", TILLS)
    assert view.succession is not None
    said = verify(view.succession, SUCCESSION_TYPE, Succession, box.cloud)
    fp = spki_fingerprint(new.signer.public_key)
    assert (said.old, said.new, said.fp, said.shop) == (box.box.name, new.name, fp, "S042")


async def test_the_old_box_is_believed_no_more_once_the_new_one_is_in(box: Enrolled) -> None:
    assert (await box.beat()).status == 200
    await swapped(box, LooseBox())

    assert (await box.beat()).status in (401, 403)
    states = {view["box"]: view["state"] for view in (await box.world.read("/v1/boxes")).json()}
    assert states[box.box.name] == "revoked"


async def test_a_claim_to_swap_leaves_the_old_box_alone_until_it_is_used(box: Enrolled) -> None:
    await swap_claim(box.world, box.box.name)

    assert (await box.beat()).status == 200


async def test_a_lost_answer_to_a_swap_is_given_again(box: Enrolled) -> None:
    new = LooseBox()
    first, secret = await swapped(box, new)

    again = await box.world.post_enrolment(new.enrolment(secret))

    one, other = (msgspec.json.decode(answer.body, type=EnrolAnswer) for answer in (first, again))
    assert (one.tills, one.succession) == (other.tills, other.succession)


async def test_a_box_is_replaced_once(box: Enrolled) -> None:
    world = box.world
    spare = read_claim((await swap_claim(world, box.box.name)).json()["claim"]).secret
    await swapped(box, LooseBox())

    another = await swap_claim(world, box.box.name)
    second = await world.post_enrolment(LooseBox().enrolment(spare))

    assert (another.status, another.problem) == (400, "bad-input")
    assert (second.status, second.problem) == (403, "claim-refused")


async def test_a_refused_swap_leaves_nothing_behind(box: Enrolled) -> None:
    world = box.world
    spare = read_claim((await swap_claim(world, box.box.name)).json()["claim"]).secret
    await swapped(box, LooseBox())
    late = LooseBox()

    await world.post_enrolment(late.enrolment(spare))

    assert late.name not in {view["box"] for view in (await world.read("/v1/boxes")).json()}


async def test_a_till_learns_at_the_locator_who_took_its_boxs_place(box: Enrolled) -> None:
    new = LooseBox()
    await swapped(box, new)

    token = await box.world.till_token()
    answer = await box.world.ask("GET", f"/v1/locator/{box.box.name}", token)

    place = msgspec.json.decode(answer.body, type=Place)
    assert place.succession is not None
    assert verify(place.succession, SUCCESSION_TYPE, Succession, box.cloud).new == new.name


async def test_a_technician_of_another_shop_swaps_nothing(box: Enrolled) -> None:
    token = await box.world.technician_token("S001")

    for shop in ("S042", "S001"):
        answer = await swap_claim(box.world, box.box.name, token, shop=shop)
        assert (answer.status, answer.problem) == (403, "not-allowed")


async def test_a_successor_hands_its_tills_on_when_it_dies_itself(box: Enrolled) -> None:
    second, third = LooseBox(), LooseBox()
    await swapped(box, second)
    made = await swap_claim(box.world, second.name)

    answer = await box.world.post_enrolment(third.enrolment(read_claim(made.json()["claim"]).secret))

    assert msgspec.json.decode(answer.body, type=EnrolAnswer).tills == TILLS


async def test_nobody_follows_himself(box: Enrolled) -> None:
    made = await swap_claim(box.world, box.box.name)

    answer = await box.world.post_enrolment(box.box.enrolment(read_claim(made.json()["claim"]).secret))

    assert (answer.status, answer.problem) == (403, "claim-refused")
    assert (await box.beat()).status == 200

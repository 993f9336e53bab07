"""Nobody unknown gets in: single-use claims, proof of the key, one token per box."""

import msgspec
import pytest

from appliance.domain.dsse import spki_fingerprint
from appliance.domain.enrolling import EnrolAnswer, EnrolRequest, read_claim
from appliance.domain.gate import Policy
from appliance.domain.statements import ENROLMENT_TYPE, POLICY_TYPE, PROBE_TYPE, ProbeAnswer, sign, verify
from appliance.runtime.clock import rfc3339
from appliance.runtime.keyfile import read_public_pem
from tests.fakes.boxes import LooseBox
from tests.integration.cloud.conftest import World


async def test_a_box_with_a_claim_gets_all_it_needs(world: World) -> None:
    box = LooseBox()

    answer = await world.post_enrolment(box.enrolment(await world.claim_secret("S042", "Nantes Centre")))

    assert answer.status == 201
    view = msgspec.json.decode(answer.body, type=EnrolAnswer)
    assert (view.box, view.shop, view.shop_name) == (box.name, "S042", "Nantes Centre")
    key = read_public_pem(view.cloud_keys[0])
    policy = verify(bytes(view.policy), POLICY_TYPE, Policy, {spki_fingerprint(key): key})
    assert policy.version == 1
    assert "daily_closing" in policy.online_only


async def test_the_token_it_got_opens_its_own_doors(world: World) -> None:
    box = await world.enrolled()

    answer = await world.ask("GET", "/v1/policy", box.token)

    assert answer.status == 200


async def test_a_claim_lets_in_one_key_only(world: World) -> None:
    token = await world.claim_secret()
    await world.post_enrolment(LooseBox().enrolment(token))

    answer = await world.post_enrolment(LooseBox().enrolment(token))

    assert (answer.status, answer.problem) == (403, "claim-refused")


async def test_the_same_key_may_ask_again_even_later_and_its_last_token_counts(world: World) -> None:
    box, token = LooseBox(), await world.claim_secret(minutes=10)
    first = await world.post_enrolment(box.enrolment(token))
    await world.clock.advance(3_600)

    again = await world.post_enrolment(box.enrolment(token))

    assert again.status == 201
    assert again.json()["box"] == first.json()["box"]
    tokens = [first.json()["box_token"], again.json()["box_token"]]
    assert [(await world.ask("GET", "/v1/policy", t)).status for t in tokens] == [401, 200]


async def test_an_expired_claim_lets_nobody_in(world: World) -> None:
    token = await world.claim_secret(minutes=10)
    await world.clock.advance(600)

    answer = await world.post_enrolment(LooseBox().enrolment(token))

    assert (answer.status, answer.problem) == (403, "claim-refused")


async def test_an_unknown_claim_lets_nobody_in(world: World) -> None:
    answer = await world.post_enrolment(LooseBox().enrolment("never handed out"))

    assert (answer.status, answer.problem) == (403, "claim-refused")
    assert (await world.read("/v1/fleet")).json() == []


async def test_a_claim_for_one_box_lets_in_no_other(world: World) -> None:
    box = LooseBox()
    secret = read_claim(await world.claim(key_hash=box.signer.key_id)).secret

    other = await world.post_enrolment(LooseBox().enrolment(secret))
    meant = await world.post_enrolment(box.enrolment(secret))

    assert (other.status, other.problem) == (403, "claim-refused")
    assert meant.status == 201


async def test_a_claim_says_where_head_office_is_and_whose_it_is(world: World) -> None:
    claim = read_claim(await world.claim("S042"))

    assert (claim.url, claim.shop, claim.pin) == (str(world.session._base_url).rstrip("/"), "S042", "")


async def test_the_time_in_the_answer_is_signed_over_the_requests_nonce(world: World) -> None:
    box = await world.enrolled()

    assert box.answer.time is not None
    heard = verify(box.answer.time, PROBE_TYPE, ProbeAnswer, box.cloud)
    assert (heard.box, heard.at) == (box.box.name, rfc3339(world.clock.wall()))


async def test_who_names_a_key_must_have_it(world: World) -> None:
    box, token = LooseBox(), await world.claim_secret()

    wrong = await world.post_enrolment(box.enrolment(token, signer=LooseBox().signer))
    right = await world.post_enrolment(box.enrolment(token))

    assert (wrong.status, wrong.problem) == (403, "bad-signature")
    assert right.status == 201


async def test_a_box_that_enrols_for_another_shop_moves_there(world: World) -> None:
    box = LooseBox()
    await world.post_enrolment(box.enrolment(await world.claim_secret("S042", "Nantes Centre")))

    await world.post_enrolment(box.enrolment(await world.claim_secret("S043", "Lille Gare")))

    (row,) = (await world.read("/v1/fleet")).json()
    assert (row["box"], row["shop"], row["shop_name"]) == (box.name, "S043", "Lille Gare")


@pytest.mark.parametrize(
    ("envelope", "status", "problem"),
    [
        (b"", 400, "malformed"),
        (b"{}", 400, "malformed"),
        (b'{"payload":"!","payloadType":"x","signatures":[]}', 400, "malformed"),
        (b'{"payload":"e30=","payloadType":"x","signatures":[]}', 400, "malformed"),
        (
            sign(
                LooseBox(1).signer,
                ENROLMENT_TYPE,
                EnrolRequest("t", "no PEM", "0" * 32),
            ),
            400,
            "malformed",
        ),
        (b" " * 70_000, 413, "too-large"),
    ],
)
async def test_what_is_no_enrolment_is_refused_with_a_reason(
    world: World, envelope: bytes, status: int, problem: str
) -> None:
    answer = await world.post_enrolment(envelope)

    assert (answer.status, answer.problem) == (status, problem)

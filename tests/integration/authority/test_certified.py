"""Enrolment and renewal with certificates: the right keys, single use, and an answer that got lost costs nothing."""

import asyncio
import base64
from datetime import timedelta

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.serialization.pkcs7 import load_der_pkcs7_certificates

from appliance.domain.dsse import spki_fingerprint
from appliance.domain.enrolling import EnrolAnswer, RenewAnswer, read_claim
from appliance.domain.keychain import rotate
from appliance.domain.statements import PROBE_TYPE, ProbeAnswer, verify
from appliance.domain.wire import ENVELOPE_MEDIA
from appliance.runtime.certificates import csr
from appliance.runtime.clock import rfc3339
from appliance.runtime.keyfile import read_public_pem
from tests.fakes.authority import a_key
from tests.fakes.boxes import LooseBox
from tests.fakes.clock import OPENING
from tests.integration.authority.conftest import CertifiedBox, Chain

DAY_S = 86_400
YEAR = timedelta(days=365)


def until(chain: str) -> str:
    return rfc3339(x509.load_pem_x509_certificate(chain.encode()).not_valid_after_utc)


async def test_a_claim_pins_the_root_that_anybody_is_shown(chain: Chain) -> None:
    claim = read_claim(await chain.claim())

    answer = await chain.ask("GET", "/.well-known/est/cacerts")

    assert (claim.pin, claim.url) == (chain.pin, f"https://head.example:{chain.session._base_url.port}")  # type: ignore[union-attr]
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/pkcs7-mime")
    shown = load_der_pkcs7_certificates(base64.b64decode(answer.body))
    assert claim.pin in {spki_fingerprint(one.public_key()) for one in shown}
    assert len(shown) == 2


async def test_a_box_gets_certificates_over_its_own_keys_and_no_token(chain: Chain) -> None:
    box = await chain.certified()

    given = box.given
    assert isinstance(given, EnrolAnswer)
    assert (given.box_token, given.authority) == ("", chain.root_pem)
    for text, key in ((given.certificate, box.tls_key), (given.lan_certificate, box.lan_key)):
        leaf, issuing = x509.load_pem_x509_certificates(text.encode())
        issuing.verify_directly_issued_by(x509.load_pem_x509_certificate(chain.root_pem.encode()))
        leaf.verify_directly_issued_by(issuing)
        assert leaf.public_key() == key.public_key()
    assert until(given.certificate) == until(given.lan_certificate) == rfc3339(OPENING + YEAR)


async def test_a_box_without_certificate_requests_is_told_to_send_them(chain: Chain) -> None:
    box = CertifiedBox()

    bare = await chain.post_enrolment(box.request(await chain.claim(), csr="", lan_csr=""))
    half = await chain.post_enrolment(box.request(await chain.claim(), lan_csr=""))
    doubled = await chain.post_enrolment(box.request(await chain.claim(), lan_csr=csr(box.tls_key, "x")))
    strange = csr(generate_private_key(SECP384R1()), "x")
    other = await chain.post_enrolment(box.request(await chain.claim(), csr=strange))

    assert [(one.status, one.problem) for one in (bare, half, doubled, other)] == [(400, "malformed")] * 4
    assert (await chain.read("/v1/boxes")).json() == []


async def test_the_same_request_again_is_answered_with_the_same_certificates_for_a_day(chain: Chain) -> None:
    box, claim = CertifiedBox(), await chain.claim()
    first = msgspec.json.decode((await chain.post_enrolment(box.request(claim))).body, type=EnrolAnswer)
    await chain.clock.advance(DAY_S - 1)

    again = msgspec.json.decode((await chain.post_enrolment(box.request(claim))).body, type=EnrolAnswer)
    await chain.clock.advance(1)
    late = await chain.post_enrolment(box.request(claim))

    assert (again.certificate, again.lan_certificate) == (first.certificate, first.lan_certificate)
    assert (late.status, late.problem) == (403, "claim-refused")
    assert [row["action"] for row in await chain.audit()] == [
        "claim-made",
        "claim-used",
        "box-enrolled",
        "claim-refused",
    ]


async def test_the_same_request_twice_at_once_makes_one_box(chain: Chain) -> None:
    box, claim = CertifiedBox(), await chain.claim()
    answers = await asyncio.gather(*(chain.post_enrolment(box.request(claim)) for _ in range(4)))

    assert {answer.status for answer in answers} == {201}
    assert len({answer.json()["certificate"] for answer in answers}) == 1
    assert len(await chain.audit("box-enrolled")) == 1


async def test_two_boxes_with_one_claim_at_once_are_one_box(chain: Chain) -> None:
    claim = await chain.claim()
    answers = await asyncio.gather(*(chain.post_enrolment(CertifiedBox().request(claim)) for _ in range(4)))

    assert sorted(answer.status for answer in answers) == [201, 403, 403, 403]
    assert len((await chain.read("/v1/boxes")).json()) == 1


async def test_a_claim_overheard_lets_no_other_key_in(chain: Chain) -> None:
    claim = await chain.claim()
    await chain.post_enrolment(CertifiedBox().request(claim))

    answers = [await chain.post_enrolment(CertifiedBox().request(claim)) for _ in range(3)]

    assert [(one.status, one.problem) for one in answers] == [(403, "claim-refused")] * 3
    assert len(await chain.audit("claim-refused")) == 1, "who asks again and again fills no table"


async def test_what_strangers_make_up_fills_no_table(chain: Chain) -> None:
    claim = await chain.claim()

    answer = await chain.post_enrolment(CertifiedBox().request(claim, claim="made up"))

    assert (answer.status, answer.problem) == (403, "claim-refused")
    assert [row["action"] for row in await chain.audit()] == ["claim-made"]


async def test_an_expired_certificate_is_renewed_on_proof_of_the_event_key(chain: Chain) -> None:
    box = await chain.certified()
    await chain.clock.advance(400 * DAY_S)
    expired = await chain.as_box(box, "GET", "/v1/policy")

    await chain.renewed(box)

    assert (expired.status, expired.problem) == (403, "certificate-expired")
    assert expired.headers["Connection"] == "close"
    assert (await chain.as_box(box, "GET", "/v1/policy")).status == 200
    assert isinstance(box.given, RenewAnswer)
    assert until(box.given.certificate) == rfc3339(chain.clock.wall() + YEAR)


async def test_the_time_in_a_renewal_is_signed_over_its_nonce(chain: Chain) -> None:
    box = await chain.certified()
    assert isinstance(box.given, EnrolAnswer)
    cloud = read_public_pem(box.given.cloud_keys[0])

    await chain.renewed(box)

    heard = verify(box.given.time, PROBE_TYPE, ProbeAnswer, {spki_fingerprint(cloud): cloud})  # type: ignore[arg-type]
    assert (heard.box, heard.at) == (box.name, rfc3339(chain.clock.wall()))


async def test_a_renewal_sent_again_is_answered_the_same(chain: Chain) -> None:
    box = await chain.certified()
    await chain.clock.advance(180 * DAY_S)
    request = box.renewal()

    first, again = (await chain.renew(request)).json(), (await chain.renew(request)).json()
    await chain.clock.advance(DAY_S)
    later = (await chain.renew(request)).json()

    assert first["certificate"] == again["certificate"] != later["certificate"]
    assert len(await chain.audit("box-renewed")) == 2


async def test_only_the_enrolled_key_renews(chain: Chain) -> None:
    box, stranger = await chain.certified(), LooseBox()

    forged = await chain.renew(box.renewal(signer=stranger.signer))
    unknown = await chain.renew(CertifiedBox().renewal())
    garbage = await chain.renew(b"{}")

    assert (forged.status, forged.problem) == (403, "bad-signature")
    assert (unknown.status, unknown.problem) == (403, "not-allowed")
    assert (garbage.status, garbage.problem) == (400, "malformed")


async def test_a_box_that_changed_its_key_while_it_was_away_renews_with_the_new_one(chain: Chain) -> None:
    box, new = await chain.certified(), LooseBox().signer
    rotation = rotate(box.name, 1, box.signer, new, rfc3339(OPENING))
    forged = rotate(box.name, 1, LooseBox().signer, new, rfc3339(OPENING))

    assert (await chain.renew(box.renewal(signer=new))).problem == "bad-signature"
    assert (await chain.renew(box.renewal(signer=new, rotations=[forged]))).problem == "bad-signature"
    assert (await chain.renew(box.renewal(signer=new, rotations=[rotation]))).status == 201


async def test_a_revoked_box_gets_no_certificate_by_any_way(chain: Chain) -> None:
    box = await chain.certified()
    await chain.ask("POST", f"/v1/boxes/{box.name}/revocation", chain.head_office, json={"reason": "stolen"})

    renewed = await chain.renew(box.renewal())
    enrolled = await chain.post_enrolment(box.request(await chain.claim()))

    assert [(one.status, one.problem) for one in (renewed, enrolled)] == [(403, "box-revoked")] * 2


@pytest.mark.parametrize("path", ["simpleenroll", "simplereenroll"])
@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"payload":"e30=","payloadType":"x","signatures":[]}', b"\xff"]
)
async def test_what_is_no_request_is_malformed(chain: Chain, path: str, body: bytes) -> None:
    answer = await chain.ask(
        "POST",
        f"/.well-known/est/{path}",
        data=body,
        headers={"Content-Type": ENVELOPE_MEDIA},
    )

    assert (answer.status, answer.problem) == (400, "malformed")


async def test_a_new_enrolment_with_another_tls_key_ends_the_one_before(chain: Chain) -> None:
    box = await chain.certified()
    before = box.identity
    box.tls_key = a_key()
    answer = await chain.post_enrolment(box.request(await chain.claim()))
    box.given = msgspec.json.decode(answer.body, type=EnrolAnswer)

    new = await chain.as_box(box, "GET", "/v1/policy")
    async with chain.connected(before) as session, session.get("/v1/policy") as old:
        assert old.status == 401

    assert new.status == 200

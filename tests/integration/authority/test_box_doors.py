"""A box is known by its certificate: on its own connection, or as a configured proxy tells it (RFC 9440)."""

import base64
import ssl
from typing import Any

import aiohttp
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from appliance.domain import wire
from appliance.domain.enrolling import EnrolAnswer
from appliance.domain.statements import PROBE_TYPE
from appliance.runtime.certificates import private_pem
from tests.fakes.authority import FakeAuthority, a_key
from tests.integration.authority.conftest import CertifiedBox, Chain
from tests.integration.cloud.conftest import World


def header(chain_pem: str) -> dict[str, str]:
    der = x509.load_pem_x509_certificate(chain_pem.encode()).public_bytes(Encoding.DER)
    return {"Client-Cert": f":{base64.b64encode(der).decode()}:"}


async def enrolled(world: World) -> tuple[CertifiedBox, str]:
    """A box, and its certificate as a proxy would tell it."""
    box = CertifiedBox()
    answer = await world.post_enrolment(box.request(await world.claim()))
    box.given = msgspec.json.decode(answer.body, type=EnrolAnswer)
    return box, box.given.certificate


async def test_a_box_comes_in_by_its_certificate_and_speaks_for_itself_alone(chain: Chain) -> None:
    box, other = await chain.certified(), await chain.certified()

    own = await chain.as_box(box, "POST", f"/v1/boxes/{box.name}/probe", json={"nonce": "0" * 32})
    foreign = await chain.as_box(box, "POST", f"/v1/boxes/{other.name}/probe", json={"nonce": "0" * 32})

    assert (own.status, own.headers["Content-Type"]) == (200, wire.ENVELOPE_MEDIA)
    assert own.json()["payloadType"] == PROBE_TYPE
    assert (foreign.status, foreign.problem) == (403, "not-allowed")


async def test_a_box_has_no_business_at_head_offices_desk(chain: Chain) -> None:
    box = await chain.certified()

    answer = await chain.as_box(box, "GET", "/v1/fleet")

    assert (answer.status, answer.problem) == (403, "not-allowed")


async def test_without_a_certificate_a_box_is_nobody(chain: Chain) -> None:
    await chain.certified()

    assert (await chain.ask("GET", "/v1/policy")).problem == "unauthenticated"


async def test_tills_and_head_office_come_with_tokens_over_tls(chain: Chain) -> None:
    assert (await chain.read("/v1/fleet")).status == 200
    assert (await chain.ask("GET", "/v1/catalogue/snapshot", await chain.till_token())).status != 401


async def test_a_certificate_of_another_authority_ends_the_handshake(chain: Chain) -> None:
    box = await chain.certified()
    forged = FakeAuthority().chain(box.name, box.tls_key.public_key())

    async with chain.connected((private_pem(box.tls_key), forged)) as session:
        with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
            await session.get("/v1/policy")


async def test_what_a_box_certifies_itself_opens_no_door(chain: Chain) -> None:
    box = await chain.certified()
    assert box.given is not None

    # Its LAN authority, shown as if it were a client's certificate.
    async with chain.connected((private_pem(box.lan_key), box.given.lan_certificate.encode())) as session:
        with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
            await session.get("/v1/policy")


async def test_a_revoked_box_is_told_so_at_once_on_the_connection_that_it_has(chain: Chain) -> None:
    box = await chain.certified()
    async with chain.connected(box.identity) as session:
        async with session.get("/v1/policy") as before:
            assert before.status == 200

        revocation = f"/v1/boxes/{box.name}/revocation"
        await chain.ask("POST", revocation, chain.head_office, json={"reason": "stolen"})

        async with session.get("/v1/policy") as after:
            assert (after.status, (await after.json(content_type=None))["code"]) == (403, "box-revoked")


async def test_nobody_speaks_older_tls_than_1_3(chain: Chain) -> None:
    context = ssl.create_default_context(cadata=chain.root_pem)
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    with pytest.raises(aiohttp.ClientConnectorError):
        await chain.session.get("/v1/policy", ssl=context)


async def test_a_header_that_is_not_from_a_proxy_names_nobody(chain: Chain) -> None:
    box = await chain.certified()
    assert box.given is not None

    answer = await chain.ask("GET", "/v1/policy", headers=header(box.given.certificate))

    assert (answer.status, answer.problem) == (401, "unauthenticated")


async def test_a_header_does_not_outweigh_the_connection(chain: Chain) -> None:
    box, victim = await chain.certified(), await chain.certified()
    assert victim.given is not None

    answer = await chain.as_box(
        box,
        "POST",
        f"/v1/boxes/{victim.name}/probe",
        json={"nonce": "0" * 32},
        headers=header(victim.given.certificate),
    )

    assert (answer.status, answer.problem) == (403, "not-allowed")


async def test_a_configured_proxy_tells_which_box_asks(behind_proxy: World) -> None:
    box, certificate = await enrolled(behind_proxy)
    told: dict[str, Any] = header(certificate)

    own = await behind_proxy.ask(
        "POST", f"/v1/boxes/{box.name}/probe", json={"nonce": "0" * 32}, headers=told
    )
    nobody = await behind_proxy.ask("GET", "/v1/policy")

    assert own.status == 200
    assert nobody.status == 401
    assert isinstance(box.given, EnrolAnswer)
    assert box.given.box_token == "", "behind a proxy, too, a box has no token"


async def test_head_office_judges_again_what_a_proxy_tells(behind_proxy: World) -> None:
    box, certificate = await enrolled(behind_proxy)
    forged = FakeAuthority().chain(box.name, box.tls_key.public_key()).decode()
    other_key = FakeAuthority().chain(box.name, a_key().public_key()).decode()
    await behind_proxy.clock.advance(400 * 86_400)

    answers = [
        await behind_proxy.ask("GET", "/v1/policy", headers=header(one))
        for one in (certificate, forged, other_key)
    ]

    assert [one.problem for one in answers] == ["certificate-expired", "unauthenticated", "unauthenticated"]


@pytest.mark.parametrize("text", ["", "x", ":", "::", ":!!:", ":e30", "e30=:", ":" + "A" * 4_000 + ":"])
async def test_a_header_that_is_no_certificate_names_nobody(behind_proxy: World, text: str) -> None:
    answer = await behind_proxy.ask("GET", "/v1/policy", headers={"Client-Cert": text})

    assert answer.status in (400, 401)
    assert answer.problem in ("malformed", "unauthenticated")


async def test_two_headers_name_nobody(behind_proxy: World) -> None:
    _, certificate = await enrolled(behind_proxy)
    told = header(certificate)["Client-Cert"]

    async with behind_proxy.session.get(
        "/v1/policy", headers=[("Client-Cert", told), ("Client-Cert", told)]
    ) as answer:
        assert answer.status == 400

"""Head office over months: its own certificate never runs out, and who let whom in can be read."""

import asyncio
import ssl
from datetime import datetime, timedelta

import aiohttp
from cryptography import x509

from appliance.domain.enrolling import read_claim
from tests.integration.authority.conftest import CertifiedBox, Chain

DAY_S = 86_400


async def server_certificate(chain: Chain) -> x509.Certificate:
    """What a new connection is shown."""
    port = chain.session._base_url.port  # type: ignore[union-attr]
    _reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=chain.context(None))
    shown: ssl.SSLObject = writer.get_extra_info("ssl_object")
    der = shown.getpeercert(True)
    writer.close()
    await writer.wait_closed()
    assert der is not None
    return x509.load_der_x509_certificate(der)


async def test_the_server_shows_its_names_and_renews_itself_at_half_life(chain: Chain) -> None:
    first = await server_certificate(chain)
    await chain.clock.advance(183 * DAY_S)

    second = await server_certificate(chain)

    names = second.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["head.example", "localhost"]
    assert {str(one) for one in names.get_values_for_type(x509.IPAddress)} == {"127.0.0.1", "::1"}
    assert second.serial_number != first.serial_number
    assert ends(second) - ends(first) > timedelta(days=180)


def ends(certificate: x509.Certificate) -> datetime:
    return certificate.not_valid_after_utc


async def test_a_client_without_the_root_does_not_believe_head_office(chain: Chain) -> None:
    async with aiohttp.ClientSession(chain.session._base_url) as stranger:
        try:
            await stranger.get("/.well-known/est/cacerts")
        except aiohttp.ClientConnectorCertificateError:
            return
    raise AssertionError("an unknown authority was believed")


async def test_the_audit_tells_who_did_what_and_holds_no_secret(chain: Chain) -> None:
    technician = await chain.technician_token("S042")
    till = await chain.till_token("S042", "T1")
    order = {"shop": "S042"}
    claim = (await chain.ask("POST", "/v1/claims", technician, json=order)).json()["claim"]
    box = CertifiedBox()
    await chain.post_enrolment(box.request(claim))
    await chain.clock.advance(200 * DAY_S)
    await chain.renew(box.renewal())
    await chain.ask("POST", f"/v1/boxes/{box.name}/revocation", chain.head_office, json={"reason": "stolen"})

    answer = await chain.read("/v1/audit?after=0&limit=100")

    rows = [(row["action"], row["who"]) for row in answer.json()]
    assert rows == [
        ("token-issued", "head-office"),
        ("token-issued", "head-office"),
        ("claim-made", "technician S042 ana"),
        ("claim-used", f"box {box.name}"),
        ("box-enrolled", f"box {box.name}"),
        ("box-renewed", f"box {box.name}"),
        ("box-revoked", "head-office"),
    ]
    for secret in (technician, till, chain.head_office, claim, read_claim(claim).secret):
        assert secret.encode() not in answer.body

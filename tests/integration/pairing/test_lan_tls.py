"""How the box speaks TLS on the LAN: the version, the pin, and the certificate that it shows."""

import asyncio
import ssl
from pathlib import Path

import aiohttp
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from appliance.config import Lan
from appliance.domain.dsse import spki_fingerprint
from appliance.domain.keychain import TlsKey
from appliance.domain.statements import TLS_KEY_TYPE, verify
from appliance.domain.wire import Hello
from appliance.runtime.keyfile import read_public_pem
from appliance.runtime.tls import client_context, dates_judge, pinned_context, spki_of
from appliance.runtime.trusted_time import TrustedClock
from tests.integration.pairing.conftest import LanTill, TlsShop, a_tls_shop


async def answered(till: LanTill, context: ssl.SSLContext) -> int:
    return (await till.ask("GET", "/v1/hello", context=context)).status


async def test_only_tls_1_3_is_spoken(shop: TlsShop) -> None:
    context = pinned_context(shop.identity.spki)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2

    with pytest.raises(aiohttp.ClientConnectionError):
        await shop.till().ask("GET", "/v1/hello", context=context)


async def test_tls_1_2_is_spoken_by_explicit_configuration(tmp_path: Path) -> None:
    async with a_tls_shop(tmp_path, lan=Lan("127.0.0.1", 0, tls="1.2")) as shop:
        context = pinned_context(shop.identity.spki)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2

        assert (await shop.till().ask("GET", "/v1/hello", context=context)).status == 200


async def test_the_hello_tells_the_pin_vouched_for_by_the_event_key_and_whether_pairing_is_open(
    shop: TlsShop,
) -> None:
    hello = msgspec.json.decode((await shop.till().ask("GET", "/v1/hello")).body, type=Hello)
    assert (hello.tls, hello.spki, hello.pairing) == (True, shop.identity.spki, False)
    key = read_public_pem(hello.key)
    assert hello.vouch is not None
    vouched = verify(hello.vouch, TLS_KEY_TYPE, TlsKey, {spki_fingerprint(key): key})
    assert vouched.spki == hello.spki

    await shop.invitation()

    assert msgspec.json.decode((await shop.till().ask("GET", "/v1/hello")).body, type=Hello).pairing


async def test_who_trusts_the_chain_needs_no_pin(shop: TlsShop) -> None:
    judge = dates_judge(TrustedClock(shop.clock, None))
    trusting = client_context(authority=shop.authority.root_pem, judge=judge, identity=None)

    assert await answered(shop.till(), trusting) == 200


async def test_the_leaf_names_the_box_and_its_address_and_ends_with_the_intermediate(shop: TlsShop) -> None:
    shown = await leaf(shop)

    names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [f"{shop.identity.box}.local"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    intermediate = x509.load_pem_x509_certificate((await asyncio.to_thread(shop.identity.lan_issuer))[0])
    assert shown.not_valid_after_utc == intermediate.not_valid_after_utc
    key = load_pem_private_key(shop.identity.tls_key_pem(), None)
    assert shown.public_key() == key.public_key()


async def leaf(shop: TlsShop) -> x509.Certificate:
    """What the box shows on a connection that begins now."""
    seen: list[bytes] = []
    context = pinned_context(shop.identity.spki)
    judge = context.judge

    def look(der: bytes | None) -> None:
        judge(der)
        assert der is not None
        seen.append(der)

    context.judge = look
    await shop.till().ask("GET", "/v1/hello", context=context)
    assert spki_of(seen[0]) == shop.identity.spki
    return x509.load_der_x509_certificate(seen[0])

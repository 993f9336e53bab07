"""What a box keeps of its enrolment, and what it refuses to keep."""

import asyncio
import secrets
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.domain.dsse import Signer, read_envelope
from appliance.domain.enrolling import Claim, EnrolAnswer, EnrolRequest, RenewAnswer, RenewRequest
from appliance.domain.errors import BadSignature, CloudUnreachable, ConfigError
from appliance.domain.gate import BUILT_IN
from appliance.domain.keychain import TlsKey
from appliance.domain.statements import (
    ENROLMENT_TYPE,
    POLICY_TYPE,
    PROBE_TYPE,
    RENEWAL_TYPE,
    TLS_KEY_TYPE,
    ProbeAnswer,
    sign,
    verify,
)
from appliance.gateways.cloud import open_cloud
from appliance.gateways.est import office_context
from appliance.gateways.identity import Identity
from appliance.runtime.certificates import read_csr
from appliance.runtime.keyfile import public_pem
from appliance.runtime.serving import listening
from appliance.runtime.tls import server_context
from appliance.runtime.trusted_time import TrustedClock
from tests.fakes.authority import FakeAuthority
from tests.fakes.clock import FakeClock

AT = "2026-11-22T08:30:00.000Z"
OFFICE = Signer(Ed25519PrivateKey.generate())


def a_claim(authority: FakeAuthority) -> Claim:
    return Claim("https://127.0.0.1:1", authority.pin, secrets.token_hex(16), "S042")


def an_answer(identity: Identity, authority: FakeAuthority, request: bytes) -> EnrolAnswer:
    asked = verify(request, ENROLMENT_TYPE, EnrolRequest, identity.keychain.keys)
    heard = ProbeAnswer(identity.box, asked.nonce, AT)
    return EnrolAnswer(
        box=identity.box,
        shop="S042",
        shop_name="Nantes",
        box_token="",
        cloud_keys=[public_pem(OFFICE.public_key)],
        policy=msgspec.Raw(sign(OFFICE, POLICY_TYPE, BUILT_IN)),
        certificate=authority.chain(identity.box, read_csr(asked.csr).public_key).decode(),
        lan_certificate=authority.chain(identity.box, read_csr(asked.lan_csr).public_key).decode(),
        authority=authority.root_pem.decode(),
        time=read_envelope(sign(OFFICE, PROBE_TYPE, heard)),
    )


def enrolled(state: Path, authority: FakeAuthority) -> Identity:
    identity = Identity(state)
    request = identity.begin(a_claim(authority))
    identity.finish("https://127.0.0.1:1", an_answer(identity, authority, request))
    return identity


def test_the_same_claim_gives_the_same_request_also_after_a_power_cut(tmp_path: Path) -> None:
    claim = a_claim(FakeAuthority())

    request = Identity(tmp_path).begin(claim)

    assert Identity(tmp_path).state() == "pending"
    assert Identity(tmp_path).pending() == claim
    assert Identity(tmp_path).begin(claim) == request
    assert Identity(tmp_path).begin(a_claim(FakeAuthority())) != request


def test_a_damaged_pending_claim_is_none_but_a_damaged_enrolment_is_never_passed_over(tmp_path: Path) -> None:
    (tmp_path / "enrolment.pending").write_bytes(b"\xff{")
    assert Identity(tmp_path).pending() is None
    (tmp_path / "enrolment.json").write_bytes(b"\xff{")

    assert Identity(tmp_path).state() == "enrolled"
    with pytest.raises(ConfigError):
        Identity(tmp_path).enrolment()


def test_an_answer_that_proves_all_makes_the_box_enrolled(tmp_path: Path) -> None:
    authority = FakeAuthority()

    identity = enrolled(tmp_path, authority)

    assert Identity(tmp_path).state() == "enrolled"
    assert not (tmp_path / "enrolment.pending").exists()
    assert identity.enrolment().authority() == authority.root_pem.decode()
    vouched = verify(identity.vouch(), TLS_KEY_TYPE, TlsKey, identity.keychain.keys)
    assert (vouched.box, vouched.spki) == (identity.box, identity.spki)


STRANGER = FakeAuthority()
NO_TIME = ProbeAnswer("sb-other", "0" * 32, AT)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda answer: {"certificate": ""},
        lambda answer: {"certificate": answer.lan_certificate},
        lambda answer: {"lan_certificate": answer.certificate},
        lambda answer: {"certificate": "no certificate"},
        lambda answer: {"authority": STRANGER.root_pem.decode()},
        lambda answer: {"authority": ""},
        lambda answer: {"time": read_envelope(sign(OFFICE, PROBE_TYPE, NO_TIME))},
        lambda answer: {"cloud_keys": []},
    ],
)
def test_an_answer_that_does_not_prove_itself_changes_nothing(
    tmp_path: Path, wrong: Callable[[EnrolAnswer], dict[str, Any]]
) -> None:
    authority, identity = FakeAuthority(), Identity(tmp_path)
    answer = an_answer(identity, authority, identity.begin(a_claim(authority)))

    with pytest.raises(BadSignature):
        identity.finish("https://127.0.0.1:1", msgspec.structs.replace(answer, **wrong(answer)))

    assert Identity(tmp_path).state() == "pending"


def test_a_renewal_is_kept_only_over_the_same_keys_and_under_the_same_authority(tmp_path: Path) -> None:
    authority = FakeAuthority()
    identity = enrolled(tmp_path, authority)
    asked = verify(identity.renewal_request(), RENEWAL_TYPE, RenewRequest, identity.keychain.keys)

    def an_answer(by: FakeAuthority, nonce: str) -> RenewAnswer:
        return RenewAnswer(
            by.chain(identity.box, read_csr(asked.csr).public_key).decode(),
            by.chain(identity.box, read_csr(asked.lan_csr).public_key).decode(),
            by.root_pem.decode(),
            read_envelope(sign(OFFICE, PROBE_TYPE, ProbeAnswer(identity.box, nonce, AT))),
        )

    before = (tmp_path / "enrolment.json").read_bytes()
    for bad in (an_answer(STRANGER, asked.nonce), an_answer(authority, "0" * 32)):
        with pytest.raises(BadSignature):
            identity.keep_renewal(bad)
    assert (tmp_path / "enrolment.json").read_bytes() == before

    good = an_answer(authority, asked.nonce)
    identity.keep_renewal(good)
    assert Identity(tmp_path).enrolment().answer.certificate == good.certificate


@pytest.mark.parametrize("name", ["127.0.0.1", "portal.example"])
async def test_a_captive_portal_with_its_own_certificate_is_named_and_hears_nothing(
    tmp_path: Path, name: str
) -> None:
    heard: list[str] = []

    async def hear(request: web.Request) -> web.Response:
        heard.append(request.path)
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", hear)
    chain = FakeAuthority().identity(name)
    context = server_context(chain, clients=None, minimum="1.3")
    async with listening(app, "127.0.0.1", 0, context=context) as port:
        url = f"https://127.0.0.1:{port}"
        time, samples = TrustedClock(FakeClock(), None), list[str]()
        identity, ours = await in_thread(tmp_path, url, time)
        async with open_cloud(
            url,
            token="",
            box=identity.box,
            keys={},
            clock=time,
            observe=lambda cause, *_, **__: samples.append(cause.value),
            context=ours,
        ) as cloud:
            with pytest.raises(CloudUnreachable) as refused:
                await cloud.send_batch(b"sales", "0" * 32)

    assert refused.value.fields["cause"] == "tls"
    assert samples == ["tls"]
    assert heard == []


async def in_thread(folder: Path, url: str, time: TrustedClock) -> tuple[Identity, ssl.SSLContext | None]:
    def make() -> tuple[Identity, ssl.SSLContext | None]:
        identity = enrolled(folder, FakeAuthority())
        return identity, office_context(url, identity.enrolment(), identity, time)

    return await asyncio.to_thread(make)

"""The leaf that the box signs for its LAN: it follows the addresses and the chain's renewal, and its key stays."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from appliance.domain.errors import DiskFull
from appliance.runtime.certificates import csr, key_spki, private_pem, read_csr
from appliance.runtime.tls import spki_of
from appliance.services.lan_keys import LOOK_EVERY_S, LanCertificate, TillAuthority
from cloud.authority import Authority
from tests.fakes.authority import a_key
from tests.fakes.clock import FakeClock
from tests.fakes.recorder import FakeRecorder
from tests.fakes.tasks import running_task

BOX = "sb-example"


class Keys:
    """A box's LAN keys, certified by a real authority. Implements ports.LanKeys."""

    def __init__(self, authority: Authority) -> None:
        self._tls, self._lan, self._authority = a_key(), a_key(), authority
        self.spki = key_spki(self._tls)
        self.certify()

    def certify(self) -> None:
        """As at enrolment and at each renewal."""
        self._chain = self._authority.lan_certificate(read_csr(csr(self._lan, BOX)), BOX).encode()

    def tls_key_pem(self) -> bytes:
        return private_pem(self._tls)

    def lan_issuer(self) -> tuple[bytes, EllipticCurvePrivateKey]:
        return self._chain, self._lan

    def till_issuer(self) -> tuple[bytes, EllipticCurvePrivateKey]:
        raise NotImplementedError

    def vouch(self) -> bytes:
        raise NotImplementedError


@dataclass
class Box:
    """A leaf that is kept true, and what was given to the listener."""

    keys: Keys
    clock: FakeClock
    journal: FakeRecorder
    certificate: LanCertificate
    addresses: list[str]
    used: list[bytes] = field(default_factory=list)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self.used.append(self.certificate.identity()[1])
        async with running_task(self.certificate.run(lambda _key, chain: self.used.append(chain))):
            yield

    def named(self) -> list[str]:
        leaf = x509.load_pem_x509_certificate(self.used[-1])
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return [str(address) for address in names.get_values_for_type(x509.IPAddress)]


@pytest.fixture
async def box(tmp_path: Path) -> Box:
    clock, journal = FakeClock(), FakeRecorder()
    keys = Keys(await asyncio.to_thread(Authority.open, tmp_path, clock))
    addresses = ["192.168.1.20"]
    certificate = LanCertificate(keys, BOX, lambda: list(addresses), journal, clock)
    return Box(keys, clock, journal, certificate, addresses)


async def test_a_new_address_gets_a_new_leaf_over_the_same_key(box: Box) -> None:
    async with box.running():
        box.addresses[:] = ["192.168.1.77", "fd00::7"]
        await box.clock.advance(2 * LOOK_EVERY_S)

    assert len(box.used) == 2
    assert box.named() == ["192.168.1.77", "fd00::7"]
    pins = {spki_of(x509.load_pem_x509_certificate(chain).public_bytes(Encoding.DER)) for chain in box.used}
    assert pins == {box.keys.spki}
    assert box.journal.recorded == [
        ("lan_certificate_issued", {"addresses": ["192.168.1.77", "fd00::7"]}, None)
    ]


async def test_addresses_that_swing_make_no_more_than_one_leaf_in_ten_seconds(box: Box) -> None:
    async with box.running():
        for number in range(100):
            box.addresses[:] = [f"192.168.1.{number}"]
            box.certificate.nudge()
            await box.clock.advance(1.0)

    assert 5 <= len(box.used) - 1 <= 10


async def test_who_is_told_of_a_move_looks_soon(box: Box) -> None:
    async with box.running():
        await box.clock.advance(LOOK_EVERY_S + 1)
        box.addresses[:] = ["10.0.0.5"]
        box.certificate.nudge()
        await box.clock.advance(0.1)

        assert box.named() == ["10.0.0.5"]


async def test_while_nothing_changes_nothing_is_issued(box: Box) -> None:
    async with box.running():
        await box.clock.advance(3_600.0)

    assert len(box.used) == 1


async def test_a_renewed_intermediate_stands_behind_a_new_leaf(box: Box) -> None:
    async with box.running():
        box.clock.jump_wall(timedelta(days=200))
        box.keys.certify()
        await box.clock.advance(2 * LOOK_EVERY_S)

    first, second = (x509.load_pem_x509_certificate(chain) for chain in box.used)
    assert second.not_valid_after_utc - first.not_valid_after_utc >= timedelta(days=199)


async def test_an_address_that_the_chain_does_not_let_it_name_is_left_out(box: Box) -> None:
    box.addresses[:] = ["192.168.1.20", "203.0.113.9", "2001:db8::1", "169.254.7.7"]

    box.used.append(box.certificate.identity()[1])

    assert box.named() == ["192.168.1.20", "169.254.7.7"]


async def test_a_full_journal_does_not_keep_the_leaf_back(box: Box) -> None:
    box.journal.failure = DiskFull()
    async with box.running():
        box.addresses[:] = ["192.168.1.77"]
        await box.clock.advance(2 * LOOK_EVERY_S)

    assert box.named() == ["192.168.1.77"]


def test_a_tills_certificate_is_for_a_client_and_under_no_date_of_ours(tmp_path: Path) -> None:
    class TillKeys(Keys):
        def till_issuer(self) -> tuple[bytes, EllipticCurvePrivateKey]:
            return self._chain, self._lan

    keys = TillKeys(Authority.open(tmp_path, FakeClock()))
    certified = TillAuthority(keys).certify("T1", a_key().public_key())

    leaf = x509.load_pem_x509_certificate(certified.pem.encode())
    uses = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(uses) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert leaf.subject.rfc4514_string() == "CN=T1"
    issuer = x509.load_pem_x509_certificate(keys.lan_issuer()[0])
    assert leaf.not_valid_after_utc == issuer.not_valid_after_utc

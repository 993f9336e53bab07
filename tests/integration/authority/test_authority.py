"""The chain's own authority: made once, never replaced by itself, and what it certifies can do no more than it must."""

import ipaddress
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from appliance.domain.errors import ConfigError
from appliance.runtime.certificates import CSR, issue, key_spki, read_csr
from appliance.runtime.certificates import csr as a_csr
from cloud.authority import Authority
from tests.fakes.authority import FakeAuthority, a_key
from tests.fakes.clock import OPENING, FakeClock

YEAR = timedelta(days=365)
PARTS = ("authority-root.pem", "authority-root-key.pem", "authority-issuing.pem", "authority-issuing-key.pem")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.open(tmp_path, FakeClock())


def request_of(key: EllipticCurvePrivateKey) -> CSR:
    return read_csr(a_csr(key, "box"))


def certificates(chain: str) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(chain.encode())


def der(chain: str) -> bytes:
    return certificates(chain)[0].public_bytes(Encoding.DER)


def server_of(authority: Authority, chain: list[x509.Certificate], name: x509.GeneralName) -> None:
    """Raises VerificationError unless the chain speaks for a server of this name."""
    assert isinstance(name, x509.DNSName | x509.IPAddress)
    verifier = PolicyBuilder().store(Store([certificates(authority.root_pem)[0]])).time(OPENING)
    verifier.build_server_verifier(name).verify(chain[0], chain[1:])


def lan_leaf(authority: Authority, name: x509.GeneralName) -> list[x509.Certificate]:
    """What a box with its LAN authority can make: a server's certificate for any name it likes."""
    lan_key, key = a_key(), a_key()
    above = certificates(authority.lan_certificate(request_of(lan_key), "sb-one"))
    ends = above[0].not_valid_after_utc
    leaf = issue(
        "leaf",
        key.public_key(),
        above[0],
        lan_key,
        ca=False,
        pathlen=None,
        not_before=OPENING,
        not_after=ends,
        san=[name],
        eku=[ExtendedKeyUsageOID.SERVER_AUTH],
    )
    return [*x509.load_pem_x509_certificates(leaf), *above]


def test_it_is_the_same_at_each_start_and_its_keys_are_kept_from_others(tmp_path: Path) -> None:
    first = Authority.open(tmp_path, FakeClock())
    made = {name: (tmp_path / name).read_bytes() for name in PARTS}

    again = Authority.open(tmp_path, FakeClock(OPENING + 5 * YEAR))

    assert (again.pin, again.root_pem) == (first.pin, first.root_pem)
    assert {name: (tmp_path / name).read_bytes() for name in PARTS} == made
    for name in PARTS:
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == (0o600 if "key" in name else 0o644)


@pytest.mark.parametrize("made", [1, 2, 3])
def test_a_first_start_that_was_cut_off_goes_on_at_the_next(tmp_path: Path, made: int) -> None:
    Authority.open(tmp_path, FakeClock())
    order = (
        "authority-root-key.pem",
        "authority-root.pem",
        "authority-issuing-key.pem",
        "authority-issuing.pem",
    )
    kept = {name: (tmp_path / name).read_bytes() for name in order[:made]}
    for name in order[made:]:
        (tmp_path / name).unlink()

    whole = Authority.open(tmp_path, FakeClock())

    assert {name: (tmp_path / name).read_bytes() for name in order[:made]} == kept
    assert whole.recognise(der(whole.box_certificate(request_of(a_key()), "sb-one"))) is not None


@pytest.mark.parametrize("missing", ["authority-root.pem", "authority-issuing-key.pem"])
def test_a_lost_part_is_named_and_nothing_is_made_in_its_place(tmp_path: Path, missing: str) -> None:
    Authority.open(tmp_path, FakeClock())
    (tmp_path / missing).unlink()

    with pytest.raises(ConfigError, match=missing):
        Authority.open(tmp_path, FakeClock())

    assert not (tmp_path / missing).exists()


@pytest.mark.parametrize("damaged", PARTS[:1] + PARTS[2:])
def test_a_damaged_part_is_named_and_left_as_it_is(tmp_path: Path, damaged: str) -> None:
    Authority.open(tmp_path, FakeClock())
    (tmp_path / damaged).write_text("damaged")

    with pytest.raises(ConfigError, match=damaged):
        Authority.open(tmp_path, FakeClock())

    assert (tmp_path / damaged).read_text() == "damaged"


def test_the_root_key_may_be_kept_elsewhere_until_the_issuing_certificate_nears_its_end(
    tmp_path: Path,
) -> None:
    box, key = request_of(a_key()), tmp_path / "authority-root-key.pem"
    old = Authority.open(tmp_path, FakeClock()).box_certificate(box, "sb-one")
    kept = key.read_bytes()
    key.unlink()

    Authority.open(tmp_path, FakeClock(OPENING + 8.5 * YEAR))
    with pytest.raises(ConfigError, match="authority-root-key"):
        Authority.open(tmp_path, FakeClock(OPENING + 9.5 * YEAR))
    key.write_bytes(kept)
    late = Authority.open(tmp_path, FakeClock(OPENING + 9.5 * YEAR))

    _leaf, issuing = certificates(late.box_certificate(box, "sb-one"))
    assert issuing.not_valid_after_utc > OPENING + 19 * YEAR
    known = late.recognise(der(old))
    assert known is not None, "what the key certified under its old certificate is still ours"


def test_a_boxs_certificate_is_a_clients_alone_and_for_a_year(authority: Authority) -> None:
    key = a_key()

    leaf, issuing = certificates(authority.box_certificate(request_of(key), "sb-one"))

    leaf.verify_directly_issued_by(issuing)
    uses = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(uses) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert (leaf.not_valid_before_utc, leaf.not_valid_after_utc) == (
        OPENING - timedelta(minutes=5),
        OPENING + YEAR,
    )
    known = authority.recognise(leaf.public_bytes(Encoding.DER))
    assert known == ("sb-one", key_spki(key), OPENING + YEAR)


@pytest.mark.parametrize(
    "name",
    [
        x509.DNSName("sb-one.local"),
        *(
            x509.IPAddress(ipaddress.ip_address(text))
            for text in ("10.1.2.3", "192.168.7.9", "172.31.0.1", "169.254.4.4", "127.0.0.1")
        ),
        *(x509.IPAddress(ipaddress.ip_address(text)) for text in ("fd00::7", "fe80::1", "::1")),
    ],
    ids=str,
)
def test_a_box_can_certify_itself_under_its_name_and_at_private_addresses(
    authority: Authority, name: x509.GeneralName
) -> None:
    server_of(authority, lan_leaf(authority, name), name)


@pytest.mark.parametrize(
    "name",
    [
        x509.DNSName("sb-two.local"),
        x509.DNSName("head.example"),
        x509.DNSName("one.local"),
        *(x509.IPAddress(ipaddress.ip_address(text)) for text in ("8.8.8.8", "172.32.0.1", "2001:db8::1")),
    ],
    ids=str,
)
def test_a_box_can_certify_nobody_else(authority: Authority, name: x509.GeneralName) -> None:
    with pytest.raises(VerificationError):
        server_of(authority, lan_leaf(authority, name), name)


def test_only_what_was_issued_to_a_box_is_recognised(authority: Authority, tmp_path: Path) -> None:
    request = request_of(a_key())
    (tmp_path / "other").mkdir()
    other = Authority.open(tmp_path / "other", FakeClock())
    _, server = authority.server_identity(["head.example"])
    strangers = [
        der(other.box_certificate(request, "sb-one")),
        der(FakeAuthority().chain("sb-one", a_key().public_key()).decode()),
        der(authority.lan_certificate(request, "sb-one")),
        lan_leaf(authority, x509.DNSName("sb-one.local"))[0].public_bytes(Encoding.DER),
        der(server.decode()),
        der(authority.root_pem),
        b"",
        b"\x30\x82",
    ]

    assert [authority.recognise(stranger) for stranger in strangers] == [None] * len(strangers)


def test_a_certificate_with_one_bit_changed_is_recognised_nowhere(authority: Authority) -> None:
    whole = der(authority.box_certificate(request_of(a_key()), "sb-one"))
    name = whole.index(b"sb-one")
    forged = whole[:name] + b"sb-two" + whole[name + 6 :]

    assert authority.recognise(whole) is not None
    assert authority.recognise(forged) is None


def test_a_strange_name_for_the_server_is_a_fault_of_the_configuration(authority: Authority) -> None:
    with pytest.raises(ConfigError, match="names"):
        authority.server_identity(["tête.example"])

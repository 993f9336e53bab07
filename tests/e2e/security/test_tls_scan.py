"""What the LAN port speaks: TLS 1.3 alone, and 1.2 only where a configuration says so."""

import json
import socket
import ssl
import subprocess
import warnings
from collections.abc import Iterator

import pytest

from appliance.runtime.tls import server_context
from campaigns.hostile.shop import Target, open_shop
from tests.conftest import require
from tests.fakes.authority import FakeAuthority

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

STRONG = {"TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"}
OLD = [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2]


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with open_shop(tmp_path_factory.mktemp("shop"), 0) as target:
        yield target


def a_client(
    minimum: ssl.TLSVersion, maximum: ssl.TLSVersion, ciphers: str = "ALL:@SECLEVEL=0"
) -> ssl.SSLContext:
    """One that takes everything, also what is long broken."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # old versions: that is the point
        context.minimum_version, context.maximum_version = minimum, maximum
    context.set_ciphers(ciphers)
    return context


def shake(context: ssl.SSLContext, host: str, port: int) -> tuple[str, str]:
    """The version and suite agreed on. Raises ssl.SSLError, OSError."""
    with (
        socket.create_connection((host, port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=host) as connection,
    ):
        suite = connection.cipher()
        assert suite is not None
        return connection.version() or "", suite[0]


@pytest.mark.parametrize("version", OLD)
def test_no_older_version_is_spoken(box: Target, version: ssl.TLSVersion) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        shake(a_client(version, version), box.host, box.port)


def test_tls_1_3_is_spoken_with_a_strong_suite(box: Target) -> None:
    newest = a_client(ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3)
    version, suite = shake(newest, box.host, box.port)

    assert version == "TLSv1.3"
    assert suite in STRONG


def test_sslyze_finds_tls_1_3_alone_and_no_known_weakness(box: Target) -> None:
    require("sslyze")
    done = subprocess.run(
        ["sslyze", "--json_out=-", f"{box.host}:{box.port}"], capture_output=True, check=False, timeout=100
    )
    [scan] = json.loads(done.stdout)["server_scan_results"]
    result = scan["scan_result"]
    accepted = {
        name: [suite["cipher_suite"]["name"] for suite in result[name]["result"]["accepted_cipher_suites"]]
        for name in result
        if name.endswith("_cipher_suites")
    }

    assert {name for name, suites in accepted.items() if suites} == {"tls_1_3_cipher_suites"}
    assert set(accepted["tls_1_3_cipher_suites"]) <= STRONG
    assert not result["heartbleed"]["result"]["is_vulnerable_to_heartbleed"]
    assert not result["openssl_ccs_injection"]["result"]["is_vulnerable_to_ccs_injection"]
    assert not result["tls_compression"]["result"]["supports_compression"]
    assert result["robot"]["result"]["robot_result"].startswith("NOT_VULNERABLE")


@pytest.mark.parametrize(
    ("version", "ciphers", "spoken"),
    [
        (ssl.TLSVersion.TLSv1_2, "ECDHE+AESGCM", True),
        (ssl.TLSVersion.TLSv1_2, "ECDHE+CHACHA20", True),
        (ssl.TLSVersion.TLSv1_2, "ECDHE+AES:!AESGCM:!AESCCM:@SECLEVEL=0", False),  # CBC
        (ssl.TLSVersion.TLSv1_2, "kRSA:@SECLEVEL=0", False),  # no forward secrecy
        (ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0", False),
        (ssl.TLSVersion.TLSv1_3, "ALL", True),
    ],
)
def test_where_1_2_is_configured_only_its_strong_suites_are_spoken(
    version: ssl.TLSVersion, ciphers: str, spoken: bool
) -> None:
    server = server_context(FakeAuthority().identity("box.local"), clients=None, minimum="1.2")

    assert agree(server, a_client(version, version, ciphers)) == spoken


def agree(server: ssl.SSLContext, client: ssl.SSLContext) -> bool:
    """Whether the two come to terms, in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="box.local"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    try:
        for _ in range(10):
            for end in list(ends):
                try:
                    end.do_handshake()
                    ends.remove(end)
                except ssl.SSLWantReadError:
                    pass
    except ssl.SSLError:
        return False
    return not ends

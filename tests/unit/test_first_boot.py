"""What a card may tell its first boot: what the standard says, and what no box could use."""

from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from appliance.domain.errors import ConfigError
from appliance.domain.first_boot import FirstBoot, wpa2_psk
from appliance.runtime.settings import convert_settings, load_settings

PSK = "0" * 64
WIFI = {"ssid": "Boutique", "country": "FR", "psk": PSK}
STATIC = {"addresses": ["192.168.1.20/24"], "gateways": ["192.168.1.1"], "dns": ["192.168.1.1"]}


def ssh(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


ED25519 = ssh(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)))


def judged(**tables: object) -> FirstBoot:
    return convert_settings(tables, FirstBoot, origin="card")


@pytest.mark.parametrize(
    ("ssid", "passphrase", "key"),
    [
        # IEEE 802.11 J.4.2, its three test vectors
        ("IEEE", "password", "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e"),
        (
            "ThisIsASSID",
            "ThisIsAPassword",
            "0dc0d6eb90555ed6419756b9a15ec3e3209b63df707dd508d14581f8982721af",
        ),
        ("Z" * 32, "a" * 32, "becb93866bb8c3832cb777c2f559807c8c59afcb6eae734885001300a981cc62"),
    ],
)
def test_wpa2_makes_the_keys_of_its_standard(ssid: str, passphrase: str, key: str) -> None:
    assert wpa2_psk(ssid, passphrase) == key
    assert wpa2_psk(ssid, key.upper()) == key


@pytest.mark.parametrize("passphrase", ["short", "a" * 65, "g" * 64, "clé secrète", "tab\tin it"])
def test_what_is_no_passphrase_is_refused_and_not_repeated(passphrase: str) -> None:
    with pytest.raises(ValueError, match="8 to 63 printable ASCII") as refused:
        wpa2_psk("IEEE", passphrase)

    assert passphrase not in str(refused.value)
    with pytest.raises(ConfigError) as refused_too:
        judged(wifi={"ssid": "IEEE", "country": "FR", "passphrase": passphrase})
    assert passphrase not in str(refused_too.value)


@pytest.mark.parametrize(
    "network",
    [
        STATIC,
        {"addresses": ["10.0.0.2/31"], "gateways": ["10.0.0.3"], "dns": ["9.9.9.9"]},
        {"addresses": ["2001:db8::20/64"]},
        {"addresses": ["2001:db8::20/64"], "gateways": ["fe80::1"], "dns": ["2001:db8::53"]},
        {**STATIC, "addresses": ["192.168.1.20/24", "fd00::20/64"]},
    ],
)
def test_fixed_addresses_of_either_family_are_taken(network: dict[str, object]) -> None:
    assert msgspec.to_builtins(judged(network=network).network).items() >= network.items()


@pytest.mark.parametrize(
    ("tables", "why"),
    [
        ({"hostname": "Not A Name"}, "hostname"),
        ({"hostname": "-nantes"}, "hostname"),
        ({"hostname": "a" * 64}, "hostname"),
        ({"claim": {"authority": "short"}}, "authority"),
        ({"wifi": {**WIFI, "ssid": ""}}, "SSID"),
        ({"wifi": {**WIFI, "ssid": "é" * 17}}, "SSID"),
        ({"wifi": {**WIFI, "ssid": "line\nbreak"}}, "SSID"),
        ({"wifi": {**WIFI, "country": "fr"}}, "country"),
        ({"wifi": {**WIFI, "psk": "0" * 63}}, "psk"),
        ({"wifi": {**WIFI, "psk": ""}}, "either the psk"),
        ({"wifi": {**WIFI, "passphrase": "password"}}, "either the psk"),
        ({"network": {**STATIC, "addresses": ["192.168.1.20"]}}, "prefix"),
        ({"network": {**STATIC, "addresses": ["192.168.1.0/24"]}}, "whole network"),
        ({"network": {**STATIC, "addresses": ["192.168.1.255/24"]}}, "whole network"),
        ({"network": {**STATIC, "addresses": ["127.0.0.2/8"]}}, "no address for a box"),
        ({"network": {**STATIC, "addresses": ["fe80::2/64"]}}, "no address for a box"),
        ({"network": {**STATIC, "addresses": ["box.local/24"]}}, "network"),
        ({"network": {**STATIC, "addresses": []}}, "addresses"),
        ({"network": {**STATIC, "gateways": ["192.168.2.1"]}}, "in no network"),
        ({"network": {**STATIC, "gateways": ["192.168.1.20"]}}, "in no network"),
        ({"network": {**STATIC, "gateways": []}}, "needs an IPv4 gateway"),
        ({"network": {**STATIC, "dns": []}}, "needs a DNS server"),
        ({"network": {**STATIC, "dns": ["dns.example"]}}, "network"),
        ({"technician": {"ssh_keys": []}}, "ssh_keys"),
        ({"technician": {"ssh_keys": ["ssh-ed25519 AAAA"]}}, "no SSH public key"),
        ({"technician": {"ssh_keys": [f"no-pty {ED25519}"]}}, "begins with one of"),
        ({"technician": {"ssh_keys": [f"{ED25519}\n{ED25519}"]}}, "begins with one of"),
        ({"wlan": WIFI}, "wlan"),
    ],
)
def test_what_no_box_could_use_is_refused_with_its_reason(tables: dict[str, object], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        judged(**tables)


def test_keys_of_all_usual_kinds_may_log_in_and_a_short_one_may_not() -> None:
    keys = [ED25519, f"{ED25519} ada@head-office", ssh(ec.generate_private_key(ec.SECP256R1()))]
    keys.append(ssh(rsa.generate_private_key(65537, 3_072)))

    settings = judged(technician={"ssh_keys": keys})

    assert settings.technician is not None
    assert settings.technician.ssh_keys == keys
    with pytest.raises(ConfigError, match="3072 bits"):
        judged(technician={"ssh_keys": [ssh(rsa.generate_private_key(65537, 2_048))]})


def test_a_box_reads_the_file_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text(
        '[wifi]\nssid = "Chez \\"Zoé\\""\ncountry = "FR"\n' + f'psk = "{PSK}"\n'
    )

    wifi = load_settings(tmp_path / "card.toml", FirstBoot).wifi

    assert wifi is not None
    assert wifi.ssid == 'Chez "Zoé"'

"""`storebox first-boot`: what a card says is in its place afterwards, and no longer on the card."""

import shutil
from pathlib import Path

import pytest

from appliance.cli import main
from appliance.cli_first_boot import network_text, wifi_file, wifi_text
from appliance.config import load_config
from appliance.domain.first_boot import Network, Wifi

ROOT = Path(__file__).parents[2]
AUTHORITY = "LXEWQrcmsEQBYnyp-6wy9chTD7GQPMTbAiWHF5IaSIE"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIoCS2npv1r4ZzhCS3BD4TbmP39Aanq9VEZ43qwdXWF4 ada@head-office"


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """The folders that the image has by the time that the command runs."""
    root = tmp_path / "root"
    (root / "var/lib/storebox").mkdir(parents=True)
    (root / "usr/share/storebox").mkdir(parents=True)
    shutil.copy(ROOT / "systemd/storebox.toml", root / "usr/share/storebox/storebox.toml")
    return root


@pytest.fixture
def card(tmp_path: Path) -> Path:
    folder = tmp_path / "card"
    folder.mkdir()
    return folder


def run(card: Path, system: Path) -> object:
    with pytest.raises(SystemExit) as ended:
        main(["first-boot", "--from", str(card), "--root", str(system)])
    return ended.value.code


def test_what_the_card_says_is_in_its_place_and_no_longer_on_the_card(card: Path, system: Path) -> None:
    (card / "storebox-first-boot.toml").write_text(
        f'hostname = "nantes"\n[claim]\nauthority = "{AUTHORITY}"\n[technician]\nssh_keys = ["{KEY}"]\n'
        '[network]\naddresses = ["192.168.1.20/24"]\ngateways = ["192.168.1.1"]\ndns = ["192.168.1.1"]\n'
    )
    (card / "storebox-claim").write_text("a claim\n")
    assert run(card, system) == 0
    assert not list(card.iterdir())
    assert (system / "var/etc/hostname").read_text() == "nantes\n"
    assert (system / "var/etc/ssh/authorized_keys").read_text() == f"{KEY}\n"
    assert "Address=192.168.1.20/24" in (system / "var/etc/network/50-storebox.network").read_text()
    claim = system / "var/lib/storebox/claim"
    assert claim.read_text() == "a claim\n"
    assert claim.stat().st_mode & 0o777 == 0o600
    # The daemon takes the configuration that comes out.
    config = load_config(system / "var/etc/storebox/storebox.toml")
    assert (config.claim.authority, config.claim.file) == (AUTHORITY, "/var/lib/storebox/claim")


def test_a_file_that_cannot_be_used_stays_and_the_claim_is_taken_all_the_same(
    card: Path, system: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (card / "storebox-first-boot.toml").write_text('hostname = "nantes"\nsurprise = 1\n')
    (card / "storebox-claim").write_text("a claim\n")
    assert run(card, system) == 1
    assert "surprise" in capsys.readouterr().out
    assert [path.name for path in card.iterdir()] == ["storebox-first-boot.toml"]
    assert not (system / "var/etc/hostname").exists()
    assert (system / "var/lib/storebox/claim").exists()


def test_an_empty_card_changes_nothing(card: Path, system: Path) -> None:
    before = sorted(system.rglob("*"))
    assert run(card, system) == 0
    assert sorted(system.rglob("*")) == before


@pytest.mark.parametrize(
    ("ssid", "name"),
    [("Boutique Nantes", "Boutique Nantes.psk"), ("Café", "=436166c3a9.psk"), ("../up", "=2e2e2f7570.psk")],
)
def test_a_network_is_named_as_iwd_looks_for_it(ssid: str, name: str) -> None:
    assert wifi_file(Wifi(ssid=ssid, country="FR", psk="0" * 64)) == name


def test_a_passphrase_with_spaces_and_backslashes_is_escaped() -> None:
    wifi = Wifi(ssid="shop", country="FR", passphrase=" two \\ words", hidden=True)
    assert wifi_text(wifi) == "[Security]\nPassphrase=\\stwo\\s\\\\\\swords\n[Settings]\nHidden=true\n"


@pytest.mark.parametrize(
    ("addresses", "gateways", "automatic"),
    [
        (["192.168.1.20/24"], ["192.168.1.1"], "DHCP=ipv6"),
        (["2001:db8:7::20/64"], ["fe80::1"], "DHCP=ipv4\nIPv6AcceptRA=no"),
        (["192.168.1.20/24", "2001:db8:7::20/64"], ["192.168.1.1"], "DHCP=no\nLLMNR"),
    ],
)
def test_the_family_without_an_address_stays_automatic(
    addresses: list[str], gateways: list[str], automatic: str
) -> None:
    text = network_text(Network(addresses=addresses, gateways=gateways, dns=["192.168.1.1"]), "ether")
    assert automatic in text

"""Settings for the first boot, from a technician's words to the card: read back by the very type that a box uses."""

import io
import os
import pty
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.domain.first_boot import FIRST_BOOT_NAME, FirstBoot, wpa2_psk
from appliance.runtime.settings import convert_settings
from provisioning.cli import run
from provisioning.first_boot import PASSPHRASE
from tests.conftest import require
from tests.fakes.cards import FAT_AT, MIB, fat, mbr, on_card

SECRET = 'un "secret" de la boutique'
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop ada@head-office"
WIFI = ["--wifi", "Boutique Zoé", "--wifi-country", "FR"]


@pytest.fixture
def flash(tmp_path: Path) -> list[str]:
    """The command that writes a card, but for its settings."""
    require("mformat", "mcopy", "mtype")
    (tmp_path / "box.img").write_bytes(mbr(fat()))
    return ["flash", "--image", str(tmp_path / "box.img"), "--to", str(tmp_path / "card")]


def settings_on(card: Path) -> FirstBoot:
    return convert_settings(tomllib.loads(on_card(card, FIRST_BOOT_NAME)), FirstBoot, origin="card")


def test_a_box_reads_from_its_card_what_the_technician_said(
    tmp_path: Path, flash: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSPHRASE, SECRET)
    (tmp_path / "ada.pub").write_text(f"# Ada\n{KEY}\n\n")

    options = ["--hostname", "nantes", "--authority", "A" * 43, *WIFI, "--wifi-hidden"]
    options += ["--address", "192.168.1.20/24", "--address", "fd00::20/64", "--gateway", "192.168.1.1"]
    options += ["--dns", "192.168.1.1", "--ssh-key", str(tmp_path / "ada.pub")]
    assert run([*flash, *options]) == 0

    said = settings_on(tmp_path / "card")
    assert said.hostname == "nantes"
    assert said.claim is not None
    assert said.claim.authority == "A" * 43
    assert said.wifi is not None
    assert (said.wifi.ssid, said.wifi.country, said.wifi.hidden) == ("Boutique Zoé", "FR", True)
    assert (said.wifi.psk, said.wifi.passphrase) == (wpa2_psk("Boutique Zoé", SECRET), "")
    assert said.network is not None
    assert said.network.addresses == ["192.168.1.20/24", "fd00::20/64"]
    assert said.technician is not None
    assert said.technician.ssh_keys == [KEY]
    assert SECRET.encode() not in (tmp_path / "card").read_bytes()


def test_wpa3_needs_the_passphrase_itself(
    tmp_path: Path, flash: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{SECRET}\nnot this\n"))

    assert run([*flash, *WIFI, "--wifi-wpa3", "--wifi-passphrase-file", "-"]) == 0

    wifi = settings_on(tmp_path / "card").wifi
    assert wifi is not None
    assert (wifi.psk, wifi.passphrase) == ("", SECRET)


def test_a_passphrase_is_asked_for_at_a_terminal_and_not_shown(tmp_path: Path, flash: list[str]) -> None:
    leader, terminal = pty.openpty()
    program = [sys.executable, "-c", "from provisioning.cli import main; main()", *flash, *WIFI]
    environ = {name: value for name, value in os.environ.items() if name != PASSPHRASE}

    with subprocess.Popen(
        program, stdin=terminal, stdout=terminal, stderr=terminal, env=environ, start_new_session=True
    ) as technician:
        os.close(terminal)
        shown = b""
        while b"Passphrase" not in shown:
            shown += os.read(leader, 1024)
        os.write(leader, f"{SECRET}\n".encode())
        while b"SHA-256" not in shown:
            shown += os.read(leader, 1024)
    os.close(leader)

    assert technician.returncode == 0
    assert SECRET.encode() not in shown
    wifi = settings_on(tmp_path / "card").wifi
    assert wifi is not None
    assert wifi.psk == wpa2_psk("Boutique Zoé", SECRET)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--hostname", "Not A Name"], "hostname"),
        (["--authority", "short"], "authority"),
        (["--wifi", "Boutique"], "--wifi-country is needed"),
        (["--wifi-hidden"], "--wifi SSID"),
        (["--wifi-passphrase-file", "-"], "--wifi SSID"),
        (WIFI, "passphrase is needed"),
        ([*WIFI, "--wifi-passphrase-file", "/dev/null"], "8 to 63"),
        ([*WIFI, "--wifi-passphrase-file", "/nowhere"], "cannot be read"),
        (["--address", "192.168.1.20"], "prefix"),
        (["--gateway", "192.168.1.1"], "--address"),
        (["--ssh-key", "/dev/null"], "no key"),
        (["--ssh-key", "/nowhere"], "cannot be read"),
    ],
)
def test_settings_that_no_box_takes_are_refused_before_anything_is_written(
    tmp_path: Path,
    flash: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    why: str,
) -> None:
    monkeypatch.delenv(PASSPHRASE, raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    assert run([*flash, *options]) == 2

    assert why in capsys.readouterr().err
    assert not (tmp_path / "card").exists()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A real block device, which the kernel makes of a file."""
    require("losetup", root=True, device="/dev/loop-control")
    (tmp_path / "medium").write_bytes(bytes(16 * MIB))
    attached = ["losetup", "--find", "--show", str(tmp_path / "medium")]
    device = subprocess.run(attached, check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield Path(device)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def test_a_block_device_is_written_only_by_its_name_and_has_the_settings(
    tmp_path: Path, flash: list[str], disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onto = [*flash[:-1], str(disk), "--yes", "--hostname", "nantes"]

    assert run(onto) == 2
    assert f"--yes-this-disk {disk.name}" in capsys.readouterr().err
    assert run([*onto, "--yes-this-disk", disk.name]) == 0

    assert settings_on(disk).hostname == "nantes"
    image = (tmp_path / "box.img").read_bytes()
    assert disk.read_bytes()[: FAT_AT - MIB // 2] == image[: FAT_AT - MIB // 2]


def test_a_disk_that_is_too_small_is_named_as_one_that_starts_no_box(
    tmp_path: Path, flash: list[str], disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.truncate(tmp_path / "box.img", 17 * MIB)

    assert run([*flash[:-1], str(disk), "--yes", "--yes-this-disk", disk.name]) == 1

    assert "starts no box" in capsys.readouterr().err

"""What runs here: the hardware by RAUC's configuration, the version by the image's name."""

from pathlib import Path

import pytest

from appliance.config import Config, Update
from appliance.domain.errors import ConfigError
from appliance.services.updates import Machine
from appliance.updating import machine


def a_config(folder: Path, system: str | None = "[system]\ncompatible=storebox-rpi\n") -> Config:
    if system is not None:
        (folder / "system.conf").write_text(system)
    return Config(state=folder, update=Update(system=folder / "system.conf"))


@pytest.mark.parametrize("line", ["IMAGE_VERSION=1.2.3", 'IMAGE_VERSION="1.2.3"', "IMAGE_VERSION='1.2.3'"])
def test_an_image_says_its_version(tmp_path: Path, line: str) -> None:
    (tmp_path / "os-release").write_text(f"# a comment\nNAME=Debian\n\n{line}\n")

    assert machine(a_config(tmp_path), tmp_path / "os-release") == Machine("1.2.3", "storebox-rpi")


def test_without_a_name_of_the_image_it_is_the_program_s_version(tmp_path: Path) -> None:
    (tmp_path / "os-release").write_text("NAME=Debian\n")

    for release in ("os-release", "missing"):
        here = machine(a_config(tmp_path), tmp_path / release)
        assert here is not None
        assert here.version.count(".") == 2


def test_a_box_without_slots_is_not_updated_by_them(tmp_path: Path) -> None:
    assert machine(a_config(tmp_path, None)) is None


@pytest.mark.parametrize("text", ["", "[system]\nbootloader=efi\n", "compatible=x\n"])
def test_a_configuration_of_rauc_that_says_no_hardware_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"system\.conf"):
        machine(a_config(tmp_path, text))


def test_hours_that_cannot_be_read_are_named_at_once() -> None:
    with pytest.raises(ValueError, match="hours"):
        Update(window="nights")

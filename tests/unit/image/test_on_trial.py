"""Whether the slot that runs is tried once, as the firmware tells it (image/files/usr/lib/storebox/on-trial)."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[3] / "image/files/usr/lib/storebox/on-trial"
GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
ATTRIBUTES = bytes((7, 0, 0, 0))
# What firmware keeps beside ours.
NETWORK = 0x2001


def firmware(place: Path, current: int, order: Sequence[int]) -> Path:
    """The variables of a PC whose entries 7 and 10 are the slots b and a."""
    efi = place / "efivars"
    efi.mkdir()
    for number, name in ((7, "storebox-b"), (10, "storebox-a"), (NETWORK, "UEFI PXEv4")):
        # EFI_LOAD_OPTION (UEFI 2.10, 3.1.3): attributes, the path's length, the name, and the path.
        option = bytes((1, 0, 0, 0, 4, 0)) + f"{name}\0".encode("utf-16-le") + b"\x7f\xff\x04\x00"
        (efi / f"Boot{number:04X}-{GLOBAL}").write_bytes(ATTRIBUTES + option)
    (efi / f"BootCurrent-{GLOBAL}").write_bytes(ATTRIBUTES + current.to_bytes(2, "little"))
    numbers = b"".join(number.to_bytes(2, "little") for number in order)
    (efi / f"BootOrder-{GLOBAL}").write_bytes(ATTRIBUTES + numbers)
    return efi


def on_trial(place: Path, efi: Path) -> bool:
    """What the program says there."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "STOREBOX_EFIVARS": str(efi),
        "STOREBOX_BOOTLOADER": str(place / "pi"),
    }
    done = subprocess.run(["sh", PROGRAM], env=environment, capture_output=True, check=False)
    assert done.stderr == b""
    return done.returncode == 0


@pytest.mark.parametrize(
    ("current", "order", "expected"),
    [
        (10, (10, 7), False),
        (7, (10, 7), True),
        (7, (7, 10), False),
        (10, (7, 10), True),
        (7, (NETWORK, 10, 7), True),
        (10, (NETWORK, 10, 7), False),
        # The removable path: a first start, or a firmware that forgot our entries.
        (NETWORK, (NETWORK, 10, 7), False),
        (7, (NETWORK,), False),
    ],
)
def test_a_slot_is_on_trial_when_the_firmware_starts_the_other_one_next(
    tmp_path: Path, current: int, order: tuple[int, ...], expected: bool
) -> None:
    assert on_trial(tmp_path, firmware(tmp_path, current, order)) is expected


@pytest.mark.parametrize(("said", "expected"), [(1, True), (0, False)])
def test_a_pi_s_firmware_says_it_itself(tmp_path: Path, said: int, expected: bool) -> None:
    (tmp_path / "pi").mkdir()
    (tmp_path / "pi/tryboot").write_bytes(said.to_bytes(4, "big"))
    assert on_trial(tmp_path, tmp_path / "efivars") is expected


def test_a_machine_without_either_is_not(tmp_path: Path) -> None:
    assert not on_trial(tmp_path, tmp_path / "efivars")

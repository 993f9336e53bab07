"""How long an emulated machine's starts took in its own time, from what its console said."""

import pytest

from campaigns.image.machine import own_s

BACK_FROM_A_RELEASE = """reboot: Restarting system
BdsDxe: starting Boot0007 "storebox-b"
EFI stub: Loaded initrd from LINUX_EFI_INITRD_MEDIA_GUID device path
[   62.822788] watchdog: watchdog0: watchdog did not stop!
[   63.397561] reboot: Restarting system
BdsDxe: starting Boot0008 "storebox-a"
EFI stub: Loaded initrd from LINUX_EFI_INITRD_MEDIA_GUID device path
[    3.100000] something
\x1b[!p\x1b]104\x07storebox: READY, slot a, 74.61 s after power-on, at 10.0.2.15/24
"""
BACK_FROM_AN_EMPTY_SLOT = """reboot: Restarting system
BdsDxe: failed to load Boot0007 "storebox-b"
EFI stub: Loaded initrd from LINUX_EFI_INITRD_MEDIA_GUID device path
storebox: READY, slot a, 71.18 s after power-on, at 10.0.2.15/24
"""


@pytest.mark.parametrize(
    ("heard", "kernels", "kernels_s"),
    [
        (BACK_FROM_A_RELEASE, 2, 63.397561 + 74.61),
        (BACK_FROM_AN_EMPTY_SLOT, 1, 71.18),
        ("BdsDxe: starting", 0, 0.0),
    ],
)
def test_each_start_is_its_firmware_and_its_kernel_s_last_moment(
    heard: str, kernels: int, kernels_s: float
) -> None:
    assert own_s(heard, 8.0) == pytest.approx(8.0 * kernels + kernels_s)


def test_lines_that_end_as_a_terminal_s_do_are_read_too() -> None:
    assert own_s(BACK_FROM_A_RELEASE.replace("\n", "\r\n"), 0.0) == pytest.approx(138.007561)

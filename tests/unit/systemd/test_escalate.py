"""What follows when the starts are used up: three reboots in a row, then no more."""

import os
import subprocess
from pathlib import Path

ESCALATE = Path(__file__).parents[3] / "systemd/libexec/escalate"
BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
REBOOT, STAY = 0, 1


def escalate(folder: Path) -> int:
    for name in ("state", "run"):
        (folder / name).mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "STATE_DIRECTORY": str(folder / "state"),
        "RUNTIME_DIRECTORY": str(folder / "run"),
    }
    return subprocess.run([ESCALATE], env=environment, capture_output=True).returncode


def listed(folder: Path) -> list[str]:
    return (folder / "state/forced-reboots").read_text().splitlines()


def test_it_reboots_three_times_and_then_stays_up(tmp_path: Path) -> None:
    before = list[str]()
    for number in range(3):
        assert escalate(tmp_path) == REBOOT
        assert listed(tmp_path) == [*before, f"reboot {BOOT}"]
        # The next boot has another id.
        before.append(f"reboot earlier-{number}")
        (tmp_path / "state/forced-reboots").write_text("\n".join(before) + "\n")

    assert escalate(tmp_path) == STAY
    assert escalate(tmp_path) == STAY
    assert listed(tmp_path) == [*before, f"degraded {BOOT}"]


def test_a_reboot_that_did_not_come_is_asked_for_again_and_counted_once(tmp_path: Path) -> None:
    assert [escalate(tmp_path), escalate(tmp_path)] == [REBOOT, REBOOT]
    assert listed(tmp_path) == [f"reboot {BOOT}"]


def test_where_nothing_can_be_written_down_it_reboots_only_after_an_hour(tmp_path: Path) -> None:
    (tmp_path / "state/forced-reboots.new").mkdir(parents=True)
    up_s = float(Path("/proc/uptime").read_text().split()[0])

    assert escalate(tmp_path) == (REBOOT if up_s >= 3_600 else STAY)

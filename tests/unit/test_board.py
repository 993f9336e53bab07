"""What is read of a machine's own account, from trees as the kernel lays them out."""

import os
import shutil
from pathlib import Path

import pytest

from appliance.domain.wear import BoardReading
from appliance.gateways.board import Board

# /sys/block/mmcblk0/stat of a Raspberry Pi: 123456 sectors were written.
STAT = "   10221     3441   943154     7204     2210     2001   123456     9040        0     8100    16244\n"


def a_machine(root: Path, state: Path, **files: str) -> None:
    """A sysfs whose card mmcblk0 has a second partition, on which `state` stands."""
    device = state.stat().st_dev
    tree = {
        "sys/devices/card/block/mmcblk0/stat": STAT,
        "sys/devices/card/block/mmcblk0/mmcblk0p2/partition": "2\n",
        "sys/devices/card/block/mmcblk0/mmcblk0p2/stat": "1 1 1 1 1 1 1 1 1 1 1\n",
        "sys/fs/ext4/mmcblk0p2/errors_count": "0\n",
        **files,
    }
    for name, text in tree.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    number = root / f"sys/dev/block/{os.major(device)}:{os.minor(device)}"
    number.parent.mkdir(parents=True)
    number.symlink_to(root / "sys/devices/card/block/mmcblk0/mmcblk0p2")


def test_a_pi_with_all_there_is(tmp_path: Path) -> None:
    a_machine(
        tmp_path,
        tmp_path,
        **{
            "sys/fs/ext4/mmcblk0p2/errors_count": "3\n",
            "sys/devices/card/block/mmcblk0/device/life_time": "0x02 0x05\n",
            "sys/class/hwmon/hwmon0/name": "cpu_thermal\n",
            "sys/class/hwmon/hwmon1/name": "rpi_volt\n",
            "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1\n",
            "sys/class/rtc/rtc0/name": "rpi-rtc\n",
            "sys/class/watchdog/watchdog0/state": "active\n",
        },
    )

    assert Board(tmp_path, tmp_path).read() == BoardReading(
        written_bytes=123_456 * 512,  # of the whole card, whatever partition it was
        disk_errors=3,
        life_used_ratio=0.5,
        under_voltage=True,
        clock=True,
        watchdog="armed",
    )


def test_a_machine_that_says_nothing(tmp_path: Path) -> None:
    assert Board(tmp_path, tmp_path).read() == BoardReading()


def test_flash_that_keeps_no_count_of_its_life_is_not_new(tmp_path: Path) -> None:
    a_machine(tmp_path, tmp_path, **{"sys/devices/card/block/mmcblk0/device/life_time": "0x00 0x00\n"})

    assert Board(tmp_path, tmp_path).read().life_used_ratio is None


def test_a_watchdog_that_nothing_arms_is_off(tmp_path: Path) -> None:
    a_machine(tmp_path, tmp_path, **{"sys/class/watchdog/watchdog0/state": "inactive\n"})

    assert Board(tmp_path, tmp_path).read().watchdog == "off"


def test_one_of_two_watchdogs_is_enough(tmp_path: Path) -> None:
    a_machine(
        tmp_path,
        tmp_path,
        **{
            "sys/class/watchdog/watchdog0/state": "inactive\n",
            "sys/class/watchdog/watchdog1/state": "active\n",
        },
    )

    assert Board(tmp_path, tmp_path).read().watchdog == "armed"


def test_a_card_that_goes_away_while_it_is_read_says_nothing(tmp_path: Path) -> None:
    a_machine(tmp_path, tmp_path)
    board = Board(tmp_path, tmp_path)
    shutil.rmtree(tmp_path / "sys")

    assert board.read() == BoardReading()


def test_this_machine_counts_what_is_written(tmp_path: Path) -> None:
    if os.major(tmp_path.stat().st_dev) == 0:
        pytest.skip("no device stands behind this file system")
    before = Board(tmp_path).read().written_bytes
    with (tmp_path / "file").open("wb") as file:
        file.write(os.urandom(1 << 20))
        file.flush()
        os.fsync(file.fileno())

    after = Board(tmp_path).read().written_bytes
    assert before is not None
    assert after is not None
    assert after - before >= 1 << 20

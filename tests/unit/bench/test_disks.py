"""The disks of a benchmark: the one whose bytes are counted, and the one that is slow."""

import os
from pathlib import Path

import msgspec
import pytest

from bench.blockdev import Device
from bench.load import Outcome
from bench.processes import Failed, call, python
from bench.slowdisk import SlowDisk
from tests.conftest import require

IDLE = " 7 0 loop0 542 0 8332 42 1397 2059 12206 1147 0 1188 2080\n"


def test_the_bytes_of_the_device_under_the_folder_are_counted(tmp_path: Path) -> None:
    number = tmp_path.stat().st_dev
    statistics = tmp_path / "diskstats"
    line = f" {os.major(number)} {os.minor(number)} vdz1 1 2 3 4 5 6 {{}} 8 9 10 11\n"
    statistics.write_text(IDLE + line.format(100))
    device = Device(tmp_path, statistics)
    before = device.written_bytes()

    statistics.write_text(IDLE + line.format(108))

    assert device.name == "vdz1"
    assert device.written_bytes() - before == 8 * 512


def test_a_folder_on_no_device_is_refused_with_the_way_out(tmp_path: Path) -> None:
    statistics = tmp_path / "diskstats"
    statistics.write_text(IDLE)

    with pytest.raises(Failed, match=r"stands on no block device.*--dir"):
        Device(tmp_path, statistics)


def test_syncs_on_the_slow_disk_are_slow_and_counted(tmp_path: Path) -> None:
    require("cc")
    disk = SlowDisk(tmp_path, added_ms=20)

    printed = call(python("-m", "bench.disk", str(tmp_path / "file"), "0.1"), environment=disk.environment)

    done = msgspec.json.decode(printed, type=Outcome)
    assert done.p50_ms >= 20
    # One fsync before the first fdatasync.
    assert disk.syncs() == done.answers + 1


def test_sqlite_feels_the_slow_disk(tmp_path: Path) -> None:
    require("cc")
    disk = SlowDisk(tmp_path, added_ms=0)
    commits = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute('PRAGMA journal_mode=WAL'); c.execute('PRAGMA synchronous=FULL');"
        "c.execute('CREATE TABLE t (x)'); [c.execute('INSERT INTO t VALUES (1)') for _ in range(50)]"
    )

    call(python("-c", commits, str(tmp_path / "file.db")), environment=disk.environment)

    assert disk.syncs() >= 50


def test_without_a_compiler_the_slow_disk_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Failed, match="needs a C compiler"):
        SlowDisk(tmp_path, added_ms=5)

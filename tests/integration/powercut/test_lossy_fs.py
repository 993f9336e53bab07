"""The lossy file system does to real files what its disk says."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.runtime.files import sync_directory, write_whole
from campaigns.powercut.disk import Cut, Sync, Told, Write
from campaigns.powercut.mount import Mount, mounted
from tests.conftest import require


@pytest.fixture(scope="module")
def one_mount() -> Iterator[Mount]:
    require("fusermount3", root=True, device="/dev/fuse")
    with mounted() as mount:
        yield mount


@pytest.fixture
def mount(one_mount: Mount) -> Mount:
    one_mount.wipe()
    return one_mount


def cut(mount: Mount) -> None:
    mount.cut(0, "lose", "seed")
    mount.power_on()


def write(path: Path, data: bytes, *, sync: bool) -> None:
    with path.open("r+b" if path.exists() else "wb", buffering=0) as file:
        file.write(data)
        if sync:
            os.fsync(file.fileno())


def test_what_nobody_fsynced_is_gone_after_a_cut(mount: Mount) -> None:
    write(mount.folder / "a", b"old", sync=True)
    sync_directory(mount.folder)
    write(mount.folder / "a", b"new", sync=False)
    write(mount.folder / "b", b"unnamed", sync=True)
    assert (mount.folder / "a").read_bytes() == b"new"

    cut(mount)

    assert (mount.folder / "a").read_bytes() == b"old"
    assert [path.name for path in mount.folder.iterdir()] == ["a"]


def test_a_file_that_the_box_wrote_whole_is_whole(mount: Mount) -> None:
    write_whole(mount.folder / "head", b"first")
    write_whole(mount.folder / "head", b"second")

    cut(mount)

    assert (mount.folder / "head").read_bytes() == b"second"


def test_without_power_nothing_is_served_and_old_handles_stay_dead(mount: Mount) -> None:
    write(mount.folder / "a", b"old", sync=True)
    sync_directory(mount.folder)
    descriptor = os.open(mount.folder / "a", os.O_RDWR)
    try:
        mount.cut(0, "lose", "seed")
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            (mount.folder / "a").read_bytes()
        mount.power_on()
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            os.pwrite(descriptor, b"zombie", 0)
    finally:
        os.close(descriptor)
    assert (mount.folder / "a").read_bytes() == b"old"


def test_the_armed_call_is_the_last_thing_its_process_does(mount: Mount) -> None:
    script = "import os, sys\nfor name in 'abc':\n    os.close(os.open(sys.argv[1] + name, os.O_CREAT | os.O_WRONLY))\n"
    with subprocess.Popen([sys.executable, "-c", script, f"{mount.folder}/"]) as process:
        mount.arm(3, process.pid, "keep", "seed")
        assert process.wait() == -9
    mount.power_on()

    assert {path.name for path in mount.folder.iterdir()} == {"a", "b"}


def test_a_lying_fsync_makes_nothing_durable(mount: Mount) -> None:
    mount.lie()
    write_whole(mount.folder / "a", b"promised")

    cut(mount)

    assert list(mount.folder.iterdir()) == []


def test_a_failed_fsync_says_so_once_and_loses_what_the_cache_still_shows(mount: Mount) -> None:
    write_whole(mount.folder / "a", b"old")
    mount.fail_syncs(after=0, times=1)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        write(mount.folder / "a", b"new", sync=True)
    write(mount.folder / "a", b"", sync=True)
    assert (mount.folder / "a").read_bytes() == b"new"

    cut(mount)

    assert (mount.folder / "a").read_bytes() == b"old"


def test_the_operations_are_recorded_with_what_was_told_between_them(mount: Mount) -> None:
    write(mount.folder / "a", b"x", sync=True)
    mount.told.write_bytes(b"said")
    cut(mount)

    kinds = [type(op) for op in mount.recording()]
    assert [kind for kind in kinds if kind in (Write, Sync, Told, Cut)] == [Write, Sync, Told, Cut]

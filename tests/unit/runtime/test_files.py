"""Small files that are whole or absent, and the lock that keeps a second daemon out."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.domain.errors import ConfigError
from appliance.runtime.files import read_past_cache, sole_owner, sync_directory, write_whole


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_replaced_at_once_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_whole(path, b"first, which is longer")
    write_whole(path, b"second")

    assert path.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [path]


def test_whoever_has_the_old_file_open_goes_on_reading_it_whole(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_whole(path, b"old" * 10)
    with path.open("rb") as reader:
        first = reader.read(3)
        write_whole(path, b"new" * 10)
        assert first + reader.read() == b"old" * 10


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_the_mode_is_the_one_asked_for_whatever_was_there_before(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key.pem"
    left_by_a_crash = tmp_path / "key.pem.new"
    for there in (path, left_by_a_crash):
        there.write_bytes(b"half")
        there.chmod(0o666)
    before = os.umask(0o077)
    try:
        write_whole(path, b"whole", mode=mode)
    finally:
        os.umask(before)

    assert (path.read_bytes(), mode_of(path)) == (b"whole", mode)
    assert not left_by_a_crash.exists()


def test_a_file_is_private_unless_told_otherwise(tmp_path: Path) -> None:
    write_whole(tmp_path / "x", b"")

    assert mode_of(tmp_path / "x") == 0o600


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_whole(path, b"old")
    (tmp_path / "state.json.new").mkdir()
    with pytest.raises(OSError, match=r"state\.json\.new"):
        write_whole(path, b"new")

    assert path.read_bytes() == b"old"


def test_only_a_directory_is_synced_as_one(tmp_path: Path) -> None:
    sync_directory(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        sync_directory(tmp_path / "file")


def test_a_device_is_asked_and_not_the_page_cache(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(bytes(8_192))
    if os.major(path.stat().st_dev) == 0:
        pytest.skip("no device stands behind this file system")
    os.sync()

    before = read_bytes()
    read_past_cache(path)
    assert read_bytes() - before >= 4_096


def read_bytes() -> int:
    """What this process has had read from devices so far (proc(5))."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


def test_a_file_that_cannot_be_read_is_an_answer_too(tmp_path: Path) -> None:
    read_past_cache(tmp_path / "gone")
    read_past_cache(tmp_path)


def test_a_second_owner_in_this_process_is_kept_out_at_once(tmp_path: Path) -> None:
    second = sole_owner(tmp_path / "lock")
    with sole_owner(tmp_path / "lock"), pytest.raises(ConfigError, match=str(tmp_path)), second:
        pytest.fail("two owners")
    with sole_owner(tmp_path / "lock"):
        pass  # free again


OWNER = """
import sys
from pathlib import Path
from appliance.runtime.files import read_past_cache, sole_owner
with sole_owner(Path(sys.argv[1])):
    print("mine", flush=True)
    sys.stdin.read()
"""


def test_another_process_is_kept_out_until_it_dies(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    command = [sys.executable, "-c", OWNER, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"mine\n"
        with pytest.raises(ConfigError), sole_owner(lock):
            pytest.fail("two owners")
        owner.kill()
        owner.wait()
        with sole_owner(lock):
            pass  # no lock file is left to be cleaned up by hand


def test_the_lock_is_free_after_an_error_inside(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), sole_owner(tmp_path / "lock"):
        raise RuntimeError
    with sole_owner(tmp_path / "lock"):
        pass

"""`python -m bench --quick` runs every figure on the real daemon and the real head office."""

import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from bench.blockdev import Device
from bench.processes import Failed

FIGURES = {
    "accept",
    "pace",
    "slow",
    "written",
    "writer",
    "drain",
    "lookup",
    "memory",
    "start",
    "idle",
    "backlog",
}
# On a quiet box nothing need happen within half a second; and a clock tick is 10 ms of CPU.
MAY_BE_ZERO = {"idle"}


def measurable(folder: Path) -> set[str]:
    """All figures but those that need what is not here: a C compiler, a block device under the folder."""
    left_out = set() if shutil.which("cc") else {"slow"}
    try:
        Device(folder)
    except Failed:
        left_out.add("written")
    return FIGURES - left_out


@pytest.mark.campaign
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_quick_run_measures_every_figure_and_keeps_it(tmp_path: Path) -> None:
    kept, figures = tmp_path / "figures.json", measurable(tmp_path)

    done = subprocess.run(
        [sys.executable, "-m", "bench", *figures, "--quick", "--dir", str(tmp_path), "--json", str(kept)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    rows = msgspec.json.decode(kept.read_bytes())["rows"]
    assert {row["figure"] for row in rows} == figures
    assert all(row["median"] > 0 for row in rows if row["figure"] not in MAY_BE_ZERO)
    assert all(name in done.stdout for name in figures)
    assert [path.name for path in tmp_path.iterdir()] == [kept.name], "nothing is left behind"


def test_a_figure_that_does_not_exist_is_misuse() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "speed"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert "accept, pace" in done.stderr


def test_a_figure_that_cannot_be_measured_here_is_named_and_fails_the_run(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "slow", "--quick", "--dir", str(tmp_path)],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "bench: slow: a slow disk needs a C compiler" in done.stderr
    assert "Traceback" not in done.stderr

"""`python -m bench --quick` runs every figure on the real daemon and the real head office."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

FIGURES = {"accept", "writer", "drain", "lookup", "memory", "start"}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_quick_run_measures_every_figure_and_keeps_it(tmp_path: Path) -> None:
    kept = tmp_path / "figures.json"

    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--dir", str(tmp_path), "--json", str(kept)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    rows = msgspec.json.decode(kept.read_bytes())["rows"]
    assert {row["figure"] for row in rows} == FIGURES
    assert all(row["median"] > 0 for row in rows)
    assert all(name in done.stdout for name in FIGURES)
    assert [path.name for path in tmp_path.iterdir()] == [kept.name], "nothing is left behind"


def test_a_figure_that_does_not_exist_is_misuse() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "speed"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert "accept, writer" in done.stderr

"""The command line of the demo: what it refuses, and how it says so."""

from pathlib import Path

import pytest

from demo.cli import MISUSE, main


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--for", "0"], "above 0"),
        (["--for", "soon"], "above 0"),
        (["--for", "nan"], "above 0"),
        (["--outage", "20:10"], "like 15:35"),
        (["--outage", "15"], "like 15:35"),
        (["--outage", "15:inf"], "like 15:35"),
        (["--for", "30", "--outage", "20:40"], "after the run"),
        (["--outage", "50:70"], "after the run"),
        (["--outage", "10:20", "--outage", "15:25"], "overlap"),
        (["--kill-box", "-1"], "from 0"),
        (["--kill-box", "many"], "from 0"),
        (["--speed", "10"], "--sales"),
        (["--weather", "bad"], "a whole number"),
    ],
)
def test_what_cannot_be_meant_is_misuse(
    arguments: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == MISUSE
    assert why in capsys.readouterr().err


def test_a_file_that_is_absent_is_named_before_anything_is_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "state"

    for flag in ("--sales", "--articles"):
        assert main([flag, str(tmp_path / "absent.gz"), "--state", str(state)]) == MISUSE
        assert "absent.gz: No such file" in capsys.readouterr().err

    assert not state.exists()


def test_a_file_without_tickets_is_misuse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    day = tmp_path / "day.csv"
    day.write_text("a,b\n1,2\n")

    assert main(["--sales", str(day), "--state", str(tmp_path / "state")]) == MISUSE
    assert "no tickets" in capsys.readouterr().err


def test_a_state_directory_that_cannot_be_made_is_misuse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()

    assert main(["--state", str(tmp_path / "file" / "state")]) == MISUSE
    assert str(tmp_path / "file") in capsys.readouterr().err

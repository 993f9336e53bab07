"""What systemd says of the daemon's unit and hears of a trial, by a `systemctl` that says what that of 257 would."""

from pathlib import Path

import pytest

from appliance.gateways.units import ended_by_itself, first_started_s, proof_begins


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path / "systemctl"


def says(systemctl: Path, script: str) -> None:
    systemctl.write_text(f"#!/bin/sh\n{script}\n")
    systemctl.chmod(0o755)


def test_it_says_when_the_unit_was_started_and_how_often_by_itself(systemctl: Path) -> None:
    says(
        systemctl,
        '[ "$1 $2 $4" = "show --value storebox.service" ] || exit 1\n'
        'case "$3" in\n--property=NRestarts) echo 2 ;;\n'
        "--property=InactiveExitTimestampMonotonic) echo 57650356 ;;\nesac",
    )

    assert (first_started_s(), ended_by_itself()) == (57.650356, 2)


@pytest.mark.parametrize("script", ["exit 1", "echo 0", "echo '[not set]'", "echo"])
def test_where_nobody_says_it_is_not_known(systemctl: Path, script: str) -> None:
    says(systemctl, script)

    assert (first_started_s(), ended_by_itself()) == (None, 0)


def test_without_systemd_it_is_not_known(systemctl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(systemctl.parent))

    assert (first_started_s(), ended_by_itself()) == (None, 0)


def test_a_proof_that_begins_stops_the_timer_of_what_never_gets_there(systemctl: Path) -> None:
    says(systemctl, f'echo "$*" >>{systemctl.parent}/told')

    proof_begins()

    assert (systemctl.parent / "told").read_text() == "stop storebox-trial-over.timer\n"


@pytest.mark.parametrize("script", ["exit 5", None])
def test_a_timer_that_cannot_be_stopped_is_told_and_stops_no_proof(
    systemctl: Path, script: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", str(systemctl.parent))
    if script is not None:
        says(systemctl, script)

    proof_begins()

    assert caplog.messages == ["update.still_timed"]

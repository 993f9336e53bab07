"""`storebox prove`, beside a real daemon that speaks TLS: what a release must show, and what a failure is called."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from appliance.runtime.database import open_reader
from appliance.storage.journal_tables import place_of
from bench.processes import call, program, serving
from tests.fakes.journals import change_event

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

LOOPBACK = 'interfaces = ["127.0.0.1"]'


def write_config(
    folder: Path, name: str = "storebox.toml", *, mdns: str = LOOPBACK, prove_s: float = 60.0
) -> Path:
    path = folder / name
    path.write_text(
        f'state = "{folder / "box"}"\n[lan]\nhost = "127.0.0.1"\nport = 0\n[mdns]\n{mdns}\n'
        f"[disk]\nballast_mib = 1\n[update]\nprove_s = {prove_s}\n"
    )
    return path


@contextmanager
def a_box(folder: Path, *, mdns: str = LOOPBACK) -> Iterator[Path]:
    """An enrolled box that runs; its configuration. Its head office is gone: a proof needs none."""
    config, state = write_config(folder, mdns=mdns), ("--state", str(folder / "cloud"))
    office = [program("storebox-cloud"), "run", *state, "--host", "127.0.0.1", "--port", "0"]
    with serving(office, folder / "cloud.log"):
        claim = call([program("storebox-cloud"), "claim", *state, "--shop", "S042"]).decode().strip()
        call([program("storebox"), "enrol", "--config", str(config), "--claim", claim])
    with serving([program("storebox"), "run", "--config", str(config)], folder / "box.log"):
        yield config


def proof(config: Path, path: str = "/usr/bin:/bin") -> tuple[int, Any]:
    command = [program("storebox"), "prove", "--json", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "PATH": path})
    return done.returncode, json.loads(done.stdout)


def test_a_box_that_serves_proves_itself_without_a_line_and_leaves_nothing_in_its_journal(
    tmp_path: Path,
) -> None:
    with a_box(tmp_path) as config:
        assert proof(config) == (0, {"reason": None, "detail": ""})
        assert proof(config)[0] == 0, "a second time"

    with closing(open_reader(tmp_path / "box/journal.db")) as journal:
        assert journal.execute("SELECT count(*) FROM sale").fetchone() == (0,)
    with closing(open_reader(tmp_path / "box/trial.db")) as chain:
        assert chain.execute("SELECT count(*) FROM sale").fetchone() == (1,)


def test_a_box_that_does_not_run_is_silent(tmp_path: Path) -> None:
    with a_box(tmp_path):
        pass

    code, verdict = proof(write_config(tmp_path, prove_s=2.0))
    assert (code, verdict["reason"]) == (1, "port-silent")


@pytest.mark.parametrize(("ended", "prove_s"), [("2", 2.0), ("3", 3_600.0)])
def test_a_daemon_that_falls_again_and_again_is_not_waited_for(
    tmp_path: Path, ended: str, prove_s: float
) -> None:
    with a_box(tmp_path):
        pass
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "systemctl").write_text(f"#!/bin/sh\n[ $4 = storebox.service ] && echo {ended}\n")
    (programs / "systemctl").chmod(0o755)

    code, verdict = proof(write_config(tmp_path, prove_s=prove_s), f"{programs}:/usr/bin:/bin")

    assert (code, verdict["reason"]) == (1, "port-silent")
    assert ("ended 3 times" in verdict["detail"]) == (ended == "3")


def test_a_sale_that_does_not_come_through_is_named(tmp_path: Path) -> None:
    with a_box(tmp_path):
        (tmp_path / "box/trial.db").mkdir()

        code, verdict = proof(write_config(tmp_path, "short.toml", prove_s=5.0))
    assert (code, verdict["reason"]) == (1, "sale-failed")


def test_a_box_that_nobody_finds_is_named(tmp_path: Path) -> None:
    with a_box(tmp_path, mdns="enabled = false"):
        code, verdict = proof(write_config(tmp_path, "short.toml", prove_s=8.0))

    assert (code, verdict["reason"]) == (1, "mdns-silent")


def test_a_journal_that_does_not_hold_is_named_by_its_place(tmp_path: Path) -> None:
    with a_box(tmp_path) as config:
        change_event(tmp_path / "box/journal.db", place_of(1, 2), b"started", b"startee")
        code, verdict = proof(config)

    assert (code, verdict["reason"]) == (1, "journal-unproven")
    assert " at 1/2: " in verdict["detail"]

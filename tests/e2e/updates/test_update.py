"""An update from head office to the kept slot: real daemons over TLS, the real commands, the real RAUC.

Played are only the machine's start, and systemd: its two units are run by hand when their file is there.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appliance.runtime.clock import SystemClock
from bench.processes import call, program, serving
from tests.e2e.updates.conftest import Machine, bundle

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

WITHIN_S = 120.0
monotonic_s = SystemClock().monotonic


@dataclass
class Shop:
    """A box that runs, and its head office."""

    folder: Path
    machine: Machine

    @property
    def config(self) -> Path:
        return self.folder / "storebox.toml"

    def office(self, *words: str) -> Any:
        """A command of head office, as JSON."""
        command = [program("storebox-cloud"), *words, "--json", "--config", str(self.folder / "cloud.toml")]
        return json.loads(call(command))

    def outcome(self) -> Any:
        """What head office knows of the last update of the box."""
        said = self.office("update", "outcomes")
        return (said[0]["kind"], said[0]["reason"]) if said else None

    def until(self, reached: Any) -> None:
        """Ask again and again; each question takes a while."""
        began_s = monotonic_s()
        while not reached():
            assert monotonic_s() - began_s < WITHIN_S, (self.folder / "box.log").read_text()[-3_000:]

    def unit(self, action: str) -> None:
        """What a root unit runs."""
        call([program("storebox"), "update", action, "--config", str(self.config)])

    @contextmanager
    def running(self) -> Iterator[None]:
        """The box's daemon."""
        with serving([program("storebox"), "run", "--config", str(self.config)], self.folder / "box.log"):
            yield

    def restarted(self) -> bool:
        """Whether the root unit had the machine restarted, since this was asked last."""
        asked = self.folder / "restarts"
        return asked.exists() and bool(asked.rename(self.folder / "restarts.seen"))


@pytest.fixture
def shop(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs/systemctl").write_text(
        f'#!/bin/sh\n[ "$1" != reboot ] || echo "$*" >>{tmp_path}/restarts\n'
    )
    (tmp_path / "programs/systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'programs'}:{os.environ['PATH']}")
    shop = Shop(tmp_path, machine)
    (tmp_path / "cloud.toml").write_text(
        f'state = "{tmp_path / "cloud"}"\nhost = "127.0.0.1"\nport = 0\nheartbeat_s = 1.0\n'
    )
    shop.config.write_text(
        f'state = "{tmp_path / "box"}"\n[lan]\nhost = "127.0.0.1"\nport = 0\n'
        '[mdns]\ninterfaces = ["127.0.0.1"]\n[disk]\nballast_mib = 1\n'
        "[heartbeat]\nevery_s = 1.0\nidle_every_s = 1.0\n"
        f'[update]\nsystem = "{machine.system}"\nrecords = "{tmp_path / "records"}"\n'
        "bytes_per_s = 100_000_000\nidle_s = 1.0\nprove_s = 60.0\n"
    )
    command = [program("storebox-cloud"), "run", "--config", str(tmp_path / "cloud.toml")]
    with serving(command, tmp_path / "cloud.log"):
        claim = shop.office("claim", "--shop", "S042")["claim"]
        call([program("storebox"), "enrol", "--config", str(shop.config), "--claim", claim])
        yield shop


def test_a_release_travels_is_tried_proven_and_kept_and_one_that_dies_is_left(
    shop: Shop, keys: Path, tmp_path: Path
) -> None:
    request = tmp_path / "box/update/request"
    for version, lives in (("0.2.0", True), ("0.3.0", False)):
        made = bundle(tmp_path, keys, version=version)
        published = shop.office(
            "update", "publish", str(made), "--version", version, "--compatible", "storebox-rpi"
        )
        before = shop.machine.rauc.slots().booted
        with shop.running():
            shop.office("update", "roll-out", str(published["number"]), "--shop", "S042")
            wait_for(shop, request)
            shop.unit("serve")
            assert not shop.restarted(), "written, and not yet tried"
            wait_for(shop, request)
            shop.unit("serve")
            assert shop.restarted()

        shop.machine.start()
        assert shop.machine.rauc.slots().booted != before
        if lives:
            with shop.running():
                shop.unit("settle")
                shop.until(lambda: shop.outcome() == ("updated", ""))
        else:  # the release on trial dies without a word, and the firmware goes back
            shop.machine.start()
            assert shop.machine.rauc.slots().booted == before
            with shop.running():
                shop.unit("settle")
                shop.until(lambda: shop.outcome() == ("update_rolled_back", "never-came-up"))

        assert (shop.machine.rauc.slots().booted == before) is not lives
    assert not shop.restarted()


def test_one_that_cannot_prove_itself_goes_back_and_head_office_hears_why(
    shop: Shop, keys: Path, tmp_path: Path
) -> None:
    made = bundle(tmp_path, keys)
    shop.office("update", "publish", str(made), "--version", "0.2.0", "--compatible", "storebox-rpi")
    shop.config.write_text(shop.config.read_text().replace("prove_s = 60.0", "prove_s = 3.0"))
    request = tmp_path / "box/update/request"
    with shop.running():
        shop.office("update", "roll-out", "1", "--percent", "100")
        for _ in range(2):
            wait_for(shop, request)
            shop.unit("serve")
    assert shop.restarted()

    shop.machine.start()
    shop.unit("settle")  # and no daemon answers
    assert shop.restarted()

    shop.machine.start()
    shop.unit("settle")
    with shop.running():
        shop.until(lambda: shop.outcome() == ("update_rolled_back", "port-silent"))
        status = [program("storebox"), "status", "--config", str(shop.config)]
        said = subprocess.run(status, capture_output=True, text=True, check=False).stdout
    assert "update     image 0.1.0; last: 0.2.0 rolled-back (port-silent)\n" in said
    assert "update-rolled-back" in said
    assert shop.machine.rauc.slots().booted == "storebox-a"


def wait_for(shop: Shop, request: Path) -> None:
    """Until the daemon asks the root unit for something; its status is asked meanwhile."""
    status = [program("storebox"), "status", "--config", str(shop.config)]

    def asked() -> bool:
        subprocess.run(status, capture_output=True, check=False)
        return request.exists()

    shop.until(asked)

"""The box on its machine: what the scenarios do to it, and what they ask it."""

import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.processes import Failed
from campaigns.units.machine import HERE, Machine
from campaigns.until import until

UNIT = "storebox.service"
KIT = "root/kit"
STATE = "var/lib/storebox"
CONFIG = "etc/storebox/storebox.toml"
READY_S = 60.0
# The drop-in of a campaign that has no time.
_HURRIED = "hurried.conf"


class Box:
    """A box that install.sh puts onto a machine. `wheels`: its dependencies; `work`: a folder outside the machine."""

    def __init__(self, machine: Machine, wheel: Path, wheels: Path, work: Path) -> None:
        self.machine = machine
        self.wheel = wheel
        self.work = work
        self._wheels = wheels

    def path(self, inside: str) -> Path:
        """A place in the machine, from outside."""
        return self.machine.root / inside

    def bring_kit(self) -> None:
        """What a technician brings along: install.sh and what must lie beside it."""
        repository = HERE.parents[1]
        shutil.rmtree(self.path(KIT), ignore_errors=True)
        for name in ("install.sh", "systemd", "requirements/box.txt"):
            (self.path(KIT) / name).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (repository / name).is_dir() else shutil.copy
            copy(repository / name, self.path(KIT) / name)
        shutil.copytree(self._wheels, self.path(KIT) / "wheels")

    def install(self, wheel: Path) -> float:
        """How many seconds it took. Raises Failed, with what it said, when install.sh fails."""
        began_s = time.monotonic()
        shutil.copy(wheel, self.path(KIT))
        self.machine.run(f"/{KIT}/install.sh", f"/{KIT}/{wheel.name}", "--wheels", f"/{KIT}/wheels")
        return time.monotonic() - began_s

    def hurry(self, texts: Mapping[str, str]) -> None:
        """Give units a drop-in each, so that what takes minutes takes seconds; those given before are gone."""
        for old in self.path("etc/systemd/system").glob(f"*.d/{_HURRIED}"):
            old.unlink()
        for unit, text in texts.items():
            folder = self.path(f"etc/systemd/system/{unit}.d")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / _HURRIED).write_text(text)
        self.machine.run("systemctl", "daemon-reload")

    def lives_again(self, strike: Callable[[str], object]) -> float:
        """Strike the daemon's process; after how many seconds another one was ready."""
        main = self.machine.show(UNIT, "MainPID")
        began_s = time.monotonic()
        strike(main)
        until(
            lambda: self.machine.show(UNIT, "MainPID") not in (main, "0"), READY_S, lambda: "another process"
        )
        until(lambda: self.machine.is_active(UNIT), READY_S, lambda: "ready again")
        return time.monotonic() - began_s

    def expect_active(self) -> None:
        """Raises Failed, with the end of its log, when the daemon does not run."""
        if not self.machine.is_active(UNIT):
            raise Failed(f"it does not run: {self.log()[-1_500:]}")

    def end(self) -> tuple[int, int]:
        """Where its journal ends: epoch and seq."""
        journal = json.loads(self.machine.run("storebox", "status", "--json", check=False))["journal"]
        return journal["epoch"], journal["seq"]

    def log(self, what: str = f"--unit={UNIT}") -> str:
        """What the journal of this boot holds of a unit, or by another filter."""
        return self.machine.run("journalctl", "--boot", "--output", "cat", what)

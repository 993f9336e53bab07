"""What happens to the box, one thing after the other, on one machine; each says what was seen and raises Failed."""

import json
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from bench.processes import Failed, call, program, serving
from campaigns.units.machine import ADDRESS, HERE, Machine, until

UNIT = "storebox.service"
KIT = "root/kit"
STATE = "var/lib/storebox"
CONFIG = "etc/storebox/storebox.toml"
# So that what takes minutes on a box takes seconds here; what follows from what stays as it is.
HURRIED = {
    "storebox.service.d": "[Unit]\nStartLimitIntervalSec=20s\nStartLimitBurst=3\n"
    "[Service]\nRestartSec=100ms\nRestartMaxDelaySec=200ms\n",
    "storebox-again.timer.d": "[Timer]\nOnActiveSec=\nOnUnitInactiveSec=\n"
    "OnActiveSec=25s\nOnUnitInactiveSec=25s\nAccuracySec=1s\n",
}
READY_S = 60.0
HANG_MAX_S = 30.0


class Scenarios:
    """The steps, in the order in which `all` names them."""

    def __init__(self, machine: Machine, wheel: Path, wheels: Path, work: Path) -> None:
        self._machine = machine
        self._wheel = wheel
        self._wheels = wheels
        self._work = work

    def all(self) -> list[Callable[[], str]]:
        """Each with its name as a sentence."""
        return [
            self.an_install_without_a_line_ends_with_a_box_that_waits_for_its_claim,
            self.an_enrolled_box_starts_without_a_line,
            self.systemd_finds_no_fault,
            self.a_killed_daemon_comes_back,
            self.a_hung_daemon_is_back_within_half_a_minute,
            self.a_stop_says_goodbye,
            self.an_upgrade_keeps_the_journal,
            self.a_release_that_does_not_start_is_left,
            self.three_reboots_and_no_more,
            self.what_is_degraded_tries_again_and_tells,
            self.an_uninstall_keeps_the_journal,
        ]

    def an_install_without_a_line_ends_with_a_box_that_waits_for_its_claim(self) -> str:
        """install.sh, as a technician calls it."""
        kit, repository = self._machine.root / KIT, HERE.parents[1]
        for name in ("install.sh", "systemd", "requirements/box.txt"):
            (kit / name).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (repository / name).is_dir() else shutil.copy
            copy(repository / name, kit / name)
        shutil.copytree(self._wheels, kit / "wheels")
        took_s = self._install(self._wheel)
        said = self._machine.run("storebox", "--version").strip()
        self._expect_active()
        status = self._machine.show(UNIT, "StatusText")
        if status != "waiting for a claim":
            raise Failed(f"it says {status!r}")
        return f"{said}, {took_s:.0f} s"

    def an_enrolled_box_starts_without_a_line(self) -> str:
        """With the state of a box that was enrolled elsewhere; nobody answers on the machine's network."""
        self._machine.run("systemctl", "stop", UNIT)
        shutil.copytree(self._enrolled(), self._machine.root / STATE, dirs_exist_ok=True)
        self._machine.run("chown", "-R", "storebox:storebox", f"/{STATE}")
        self._machine.run("systemctl", "start", UNIT)
        began_us, ready_us = (
            int(self._machine.show(UNIT, f"{name}TimestampMonotonic"))
            for name in ("InactiveExit", "ActiveEnter")
        )
        return f"READY after {(ready_us - began_us) / 1e6:.2f} s, {self._rss_mb():.0f} MB resident"

    def systemd_finds_no_fault(self) -> str:
        """By the very systemd that runs it."""
        shutil.copy(HERE / "check-inside.sh", self._machine.root / KIT)
        return self._machine.run("sh", f"/{KIT}/check-inside.sh").strip().lstrip("→ ")

    def a_killed_daemon_comes_back(self) -> str:
        """SIGKILL."""
        took_s = self._lives_again(lambda main: self._machine.run("kill", "-KILL", main))
        return f"ready again after {took_s:.1f} s"

    def a_hung_daemon_is_back_within_half_a_minute(self) -> str:
        """SIGSTOP: no more signs of life, and it does not die of SIGABRT either."""
        time.sleep(12)  # longer than from one sign to the next
        took_s = self._lives_again(lambda main: self._machine.run("kill", "-STOP", main))
        if took_s > HANG_MAX_S:
            raise Failed(f"ready again only after {took_s:.1f} s")
        if self._machine.show(UNIT, "NRestarts") == "0":
            raise Failed("it was not systemd who started it again")
        return f"ready again after {took_s:.1f} s"

    def a_stop_says_goodbye(self) -> str:
        """Records of mDNS with no time to live, heard on the shop's network."""
        main = self._machine.show(UNIT, "MainPID")
        until(lambda: "mdns.announced" in self._log(f"_PID={main}"), "the box announces itself", READY_S)
        shutil.copy(HERE / "goodbyes.py", self._machine.root / KIT)
        with self._machine.start("python3", f"/{KIT}/goodbyes.py", "6", ADDRESS) as listener:
            assert listener.stdout is not None
            listener.stdout.readline()
            began_s = time.monotonic()
            self._machine.run("systemctl", "stop", UNIT)
            took_s = time.monotonic() - began_s
            heard = int(listener.stdout.read() or 0)
        result = self._machine.show(UNIT, "Result")
        self._machine.run("systemctl", "start", UNIT)
        if heard == 0:
            raise Failed("no goodbye was heard")
        if result != "success":
            raise Failed(f"it did not stop well: {result}")
        return f"stopped in {took_s:.1f} s, {heard} goodbyes"

    def an_upgrade_keeps_the_journal(self) -> str:
        """The same command again; the release before stays beside."""
        before, took_s = self._end(), self._install(self._wheel)
        self._expect_active()
        after = self._end()
        if not (before[0] == after[0] and before[1] < after[1]):
            raise Failed(f"the journal ended at {before}, and ends at {after}")
        if len(list((self._machine.root / "opt/storebox.d").iterdir())) != 2:
            raise Failed("not two releases")
        return f"{took_s:.0f} s; epoch {after[0]}, seq {before[1]} to {after[1]}"

    def a_release_that_does_not_start_is_left(self) -> str:
        """A wheel whose daemon ends as soon as it is started."""
        before, program_before = self._end(), (self._machine.root / "opt/storebox").readlink()
        try:
            self._install(_broken(self._wheel, self._work))
        except Failed as failure:
            if "the one before runs again" not in str(failure):
                raise
        else:
            raise Failed("a broken release was installed")
        self._expect_active()
        if (self._machine.root / "opt/storebox").readlink() != program_before:
            raise Failed("the broken release is in force")
        if self._end()[1] <= before[1]:
            raise Failed("the journal did not go on")
        return "the one before runs again"

    def three_reboots_and_no_more(self) -> str:
        """A configuration that cannot be used: no start and no reboot helps."""
        for folder, text in HURRIED.items():
            place = self._machine.root / "etc/systemd/system" / folder
            place.mkdir(parents=True)
            (place / "hurried.conf").write_text(text)
        config = self._machine.root / CONFIG
        self._sound = config.read_text()
        config.write_text(self._sound + "nonsense = 1\n")
        self._machine.run("systemctl", "daemon-reload")
        self._machine.run("systemctl", "restart", "--no-block", UNIT)
        self._machine.wait_for_boot(4)
        until(lambda: self._machine.is_active("storebox-degraded.service"), "it stays up degraded", READY_S)
        if "ne démarre plus" not in self._machine.console:
            raise Failed(f"the console says nothing: {self._machine.console[-500:]!r}")
        listed = [line.split()[0] for line in (self._machine.root / STATE / "forced-reboots").open()]
        if listed != ["reboot"] * 3 + ["degraded"] or self._machine.boots != 4:
            raise Failed(f"{self._machine.boots} boots, and the list is {listed}")
        return "3 reboots, then degraded, told on the console"

    def what_is_degraded_tries_again_and_tells(self) -> str:
        """A start that systemd refuses changes nothing; once the configuration is sound, the next try succeeds."""
        self._machine.run("systemctl", "start", UNIT, check=False)
        if not self._machine.is_active("storebox-again.timer"):
            raise Failed("nobody tries again")
        until(
            lambda: "Finished" in self._log("--unit=storebox-degraded") and self._tries() >= 2,
            "another try",
            90,
        )
        (self._machine.root / CONFIG).write_text(self._sound)
        took_s = until(lambda: self._machine.is_active(UNIT), "the next try", 90)
        until(lambda: not self._machine.is_active("storebox-degraded.service"), "degraded ends", READY_S)
        status = json.loads(self._machine.run("storebox", "status", "--json", check=False))
        if "failed-starts" not in status["issues"] or "box.starts_failed" not in self._log():
            raise Failed(f"nobody hears of it: {status['issues']}")
        return f"served again after {took_s:.0f} s, and told as failed-starts"

    def an_uninstall_keeps_the_journal(self) -> str:
        """And another install goes on with it."""
        before = self._end()
        said = self._machine.run(f"/{KIT}/install.sh", "--uninstall")
        if f"Kept: /{STATE}" not in said:
            raise Failed(f"it does not say where the journal is: {said}")
        left = [path for path in ("opt/storebox", "usr/bin/storebox") if (self._machine.root / path).exists()]
        if left or self._machine.is_active(UNIT):
            raise Failed(f"something of it is left: {left}")
        self._install(self._wheel)
        after = self._end()
        if after[0] != before[0] or after[1] <= before[1]:
            raise Failed(f"the journal ended at {before}, and ends at {after}")
        return f"epoch {after[0]}, seq {before[1]} to {after[1]}"

    def _install(self, wheel: Path) -> float:
        began_s = time.monotonic()
        shutil.copy(wheel, self._machine.root / KIT)
        self._machine.run(f"/{KIT}/install.sh", f"/{KIT}/{wheel.name}", "--wheels", f"/{KIT}/wheels")
        return time.monotonic() - began_s

    def _enrolled(self) -> Path:
        """The state of a box that a real head office has let in."""
        office, box = ("--state", str(self._work / "cloud")), self._work / "box"
        config, claim = self._work / "box.toml", self._work / "claim"
        config.write_text(f'state = "{box}"\n')
        run = [program("storebox-cloud"), "run", *office, "--host", "127.0.0.1", "--port", "0"]
        with serving(run, self._work / "cloud.log"):
            claim.write_bytes(call([program("storebox-cloud"), "claim", *office, "--shop", "S042"]))
            call([program("storebox"), "enrol", "--config", str(config), "--claim-file", str(claim)])
        return box

    def _lives_again(self, strike: Callable[[str], object]) -> float:
        main = self._machine.show(UNIT, "MainPID")
        began_s = time.monotonic()
        strike(main)
        until(lambda: self._machine.show(UNIT, "MainPID") not in (main, "0"), "another process", READY_S)
        until(lambda: self._machine.is_active(UNIT), "ready again", READY_S)
        return time.monotonic() - began_s

    def _expect_active(self) -> None:
        if not self._machine.is_active(UNIT):
            raise Failed(f"it does not run: {self._log()[-1_500:]}")

    def _end(self) -> tuple[int, int]:
        journal = json.loads(self._machine.run("storebox", "status", "--json", check=False))["journal"]
        return journal["epoch"], journal["seq"]

    def _tries(self) -> int:
        return self._log("--unit=storebox-escalate").count("Starting")

    def _log(self, what: str = f"--unit={UNIT}") -> str:
        return self._machine.run("journalctl", "--boot", "--output", "cat", what)

    def _rss_mb(self) -> float:
        main = self._machine.show(UNIT, "MainPID")
        lines = self._machine.run("cat", f"/proc/{main}/status").splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) * 1_024 / 1e6


def _broken(wheel: Path, folder: Path) -> Path:
    """A copy of a wheel whose daemon exits at once; its other commands work."""
    broken = folder / wheel.name
    with zipfile.ZipFile(wheel) as sound, zipfile.ZipFile(broken, "w", zipfile.ZIP_DEFLATED) as copy:
        for entry in sound.infolist():
            content = sound.read(entry)
            if entry.filename == "appliance/runtime/process.py":
                content = content.replace(
                    b"    async def guarded()", b"    raise SystemExit(3)\n\n    async def guarded()"
                )
            copy.writestr(entry, content)
    return broken

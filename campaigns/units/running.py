"""What the units do for a daemon that runs: start it, watch it, start it again, stop it."""

import shutil
import time

from bench.processes import Failed, must
from campaigns.units.box import KIT, READY_S, UNIT, Box
from campaigns.units.machine import ADDRESS, HERE
from campaigns.until import until

TIMER = "storebox-steady.timer"
# So that what takes a quarter of an hour on a box takes seconds here.
HURRIED = {TIMER: "[Timer]\nOnActiveSec=\nOnActiveSec=10s\nAccuracySec=1s\n"}
HANG_MAX_S = 30.0
# Read by the interpreter when it starts: at this signal the thread that has the event loop goes round for ever.
SPIN = "import signal; signal.signal(signal.SIGUSR1, lambda *_: exec('while True: pass'))\n"
LIBRARIES = "/opt/storebox/lib/python3.13/site-packages"


class Running:
    """Each takes a box that was let in and runs, and leaves one."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self._machine = box.machine

    def an_enrolled_box_starts_without_a_line(self) -> str:
        """Nobody answers on the machine's network."""
        self._machine.run("systemctl", "restart", UNIT)
        began_us, ready_us = (self._since_us(UNIT, name) for name in ("InactiveExit", "ActiveEnter"))
        return f"READY after {(ready_us - began_us) / 1e6:.2f} s, {self._rss_mb():.0f} MB resident"

    def systemd_finds_no_fault(self) -> str:
        """By the very systemd that runs it."""
        shutil.copy(HERE / "check-inside.sh", self._box.path(KIT))
        return self._machine.run("sh", f"/{KIT}/check-inside.sh").strip().lstrip("→ ")

    def a_killed_daemon_comes_back(self) -> str:
        """SIGKILL."""
        took_s = self._box.lives_again(lambda main: self._machine.run("kill", "-KILL", main))
        return f"ready again after {took_s:.1f} s"

    def a_steady_run_clears_the_count_of_restarts(self) -> str:
        """It is counted anew from each start, also from one by systemd, and ends with the daemon."""
        self._box.hurry(HURRIED)
        self._box.lives_again(lambda main: self._machine.run("kill", "-KILL", main))
        main, counted = self._machine.show(UNIT, "MainPID"), self._restarts()
        must(counted > 0, "systemd has counted no restart")
        must(self._machine.is_active(TIMER), "the timer did not start again with the daemon")
        after_us = self._since_us(TIMER, "ActiveEnter") - self._since_us(UNIT, "ActiveEnter")
        must(after_us >= 0, "the timer still counts from the start before")
        took_s = until(lambda: self._restarts() == 0, READY_S, lambda: "the count is cleared")
        must(self._machine.show(UNIT, "MainPID") == main, "the daemon did not run on meanwhile")
        self._machine.run("systemctl", "stop", UNIT)
        must(not self._machine.is_active(TIMER), "the timer outlives the daemon")
        self._machine.run("systemctl", "start", UNIT)
        must(self._machine.is_active(TIMER), "the timer did not start with the daemon")
        self._box.hurry({})
        return f"{counted} restarts, 0 after {took_s:.1f} s (10 instead of 900); the same process"

    def a_stopped_daemon_is_back_within_half_a_minute(self) -> str:
        """SIGSTOP: no more signs of life, and it does not die of SIGABRT either."""
        return self._hang("-STOP")

    def a_daemon_that_spins_is_back_within_half_a_minute(self) -> str:
        """Its event loop goes round in one place; its other threads work on."""
        (self._box.path(KIT) / "spin.pth").write_text(SPIN)
        self._machine.run("cp", f"/{KIT}/spin.pth", LIBRARIES)
        self._machine.run("systemctl", "restart", UNIT)
        said = self._hang("-USR1")
        self._machine.run("rm", f"{LIBRARIES}/spin.pth")
        return said

    def a_stop_says_goodbye(self) -> str:
        """Records of mDNS with no time to live, heard on the shop's network."""
        main = self._machine.show(UNIT, "MainPID")
        until(
            lambda: "mdns.announced" in self._box.log(f"_PID={main}"),
            READY_S,
            lambda: "the box announces itself",
        )
        shutil.copy(HERE / "goodbyes.py", self._box.path(KIT))
        with self._machine.start("python3", f"/{KIT}/goodbyes.py", "6", ADDRESS) as listener:
            assert listener.stdout is not None
            listener.stdout.readline()
            began_s = time.monotonic()
            self._machine.run("systemctl", "stop", UNIT)
            took_s = time.monotonic() - began_s
            heard = int(listener.stdout.read() or 0)
        result = self._machine.show(UNIT, "Result")
        self._machine.run("systemctl", "start", UNIT)
        must(heard > 0, "no goodbye was heard")
        must(result == "success", f"it did not stop well: {result}")
        return f"stopped in {took_s:.1f} s, {heard} goodbyes"

    def _hang(self, signal: str) -> str:
        time.sleep(12)  # longer than from one sign to the next
        before = self._restarts()
        took_s = self._box.lives_again(lambda main: self._machine.run("kill", signal, main))
        if took_s > HANG_MAX_S:
            raise Failed(f"ready again only after {took_s:.1f} s")
        must(self._restarts() > before, "it was not systemd who started it again")
        return f"ready again after {took_s:.1f} s"

    def _restarts(self) -> int:
        return int(self._machine.show(UNIT, "NRestarts"))

    def _since_us(self, unit: str, name: str) -> int:
        return int(self._machine.show(unit, f"{name}TimestampMonotonic"))

    def _rss_mb(self) -> float:
        main = self._machine.show(UNIT, "MainPID")
        lines = self._machine.run("cat", f"/proc/{main}/status").splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) * 1_024 / 1e6

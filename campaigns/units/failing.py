"""What the units do about a daemon that does not start: reboots, no more than three, then a machine that stays up."""

import json
import os

from bench.processes import Failed, must
from campaigns.units.box import CONFIG, READY_S, STATE, UNIT, Box
from campaigns.until import until

LIST = f"{STATE}/forced-reboots"
# So that what takes minutes on a box takes seconds here; what follows from what stays as it is.
HURRIED = {
    UNIT: "[Unit]\nStartLimitIntervalSec=20s\nStartLimitBurst=3\n"
    "[Service]\nRestartSec=100ms\nRestartMaxDelaySec=200ms\n",
    "storebox-again.timer": "[Timer]\nOnActiveSec=\nOnUnitInactiveSec=\n"
    "OnActiveSec=25s\nOnUnitInactiveSec=25s\nAccuracySec=1s\n",
}
HURRIED_HANG = {UNIT: HURRIED[UNIT] + "TimeoutStartSec=4s\n"}


class Failing:
    """In this order; the last leaves a box that runs."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self._machine = box.machine

    def three_reboots_and_no_more(self) -> str:
        """A configuration that cannot be used: no start and no reboot helps."""
        config = self._box.path(CONFIG)
        self._sound = config.read_text()
        config.write_text(self._sound + "nonsense = 1\n")
        self._box.hurry(HURRIED)
        self._expect_three_reboots()
        if "ne démarre plus" not in self._machine.console:
            raise Failed(f"the console says nothing: {self._machine.console[-500:]!r}")
        return "3 reboots, then degraded, told on the console"

    def what_is_degraded_tries_again_and_tells(self) -> str:
        """A start that systemd refuses changes nothing; once the configuration is sound, the next try succeeds."""
        self._machine.run("systemctl", "start", UNIT, check=False)
        must(self._machine.is_active("storebox-again.timer"), "nobody tries again")
        until(
            lambda: "Finished" in self._box.log("--unit=storebox-degraded") and self._tries() >= 2,
            90,
            lambda: "another try",
        )
        self._box.path(CONFIG).write_text(self._sound)
        took_s = until(lambda: self._machine.is_active(UNIT), 90, lambda: "the next try")
        until(
            lambda: not self._machine.is_active("storebox-degraded.service"), READY_S, lambda: "degraded ends"
        )
        status = json.loads(self._machine.run("storebox", "status", "--json", check=False))
        if "failed-starts" not in status["issues"] or "box.starts_failed" not in self._box.log():
            raise Failed(f"nobody hears of it: {status['issues']}")
        return f"served again after {took_s:.0f} s, and told as failed-starts"

    def starts_that_hang_end_no_other_way(self) -> str:
        """A configuration that is a pipe: the daemon waits for ever for somebody to write to it."""
        self._machine.run("systemctl", "stop", UNIT)
        # As the daemon does it after 15 steady minutes.
        self._box.path(LIST).unlink()
        config = self._box.path(CONFIG)
        config.unlink()
        os.mkfifo(config, 0o644)
        self._box.hurry(HURRIED_HANG)
        self._expect_three_reboots()
        result = self._machine.show(UNIT, "Result")
        config.unlink()
        config.write_text(self._sound)
        self._box.hurry({})
        self._machine.run("systemctl", "reset-failed", UNIT)
        self._machine.run("systemctl", "start", UNIT)
        return f"3 reboots, then degraded ({result}); 4 s for a start instead of 90"

    def _expect_three_reboots(self) -> None:
        before = self._machine.boots
        self._machine.run("systemctl", "restart", "--no-block", UNIT)
        self._machine.wait_for_boot(before + 3)
        until(
            lambda: self._machine.is_active("storebox-degraded.service"),
            READY_S,
            lambda: "it stays up degraded",
        )
        listed = [line.split()[0] for line in self._box.path(LIST).open()]
        if listed != ["reboot"] * 3 + ["degraded"] or self._machine.boots != before + 3:
            raise Failed(f"{self._machine.boots - before} reboots, and the list is {listed}")

    def _tries(self) -> int:
        return self._box.log("--unit=storebox-escalate").count("Starting")

"""The root units, and the power that goes at any step of theirs."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from appliance.domain.update import Reason, Verdict
from tests.integration.updates.test_installing import GOOD, Machine


class Cut(Exception):
    """The power goes."""


class _Cutting:
    """Cuts the power at the n-th write to the records or call to the boot loader."""

    def __init__(self, machine: Machine, at: int) -> None:
        self.left, self.machine = at, machine
        for name in ("install", "try_other", "keep", "give_up"):
            self._before(machine.slots, name)
        for name in ("begin", "end"):
            self._before(machine.records, name)

    def _before(self, owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def cut(*arguments: Any) -> Any:
            self.left -= 1
            if self.left == -1:
                raise Cut
            return real(*arguments)

        setattr(owner, name, cut)


@pytest.mark.parametrize("verdict", [GOOD, Verdict(Reason.PORT_SILENT)], ids=["good", "bad"])
def test_wherever_the_power_goes_the_box_runs_a_proven_slot_and_knows_why(
    tmp_path: Path, verdict: Verdict
) -> None:
    cuts = 0
    for at in itertools.count():
        (tmp_path / str(at)).mkdir()
        machine = Machine(tmp_path / str(at))
        _Cutting(machine, at)
        for _ in range(3):  # the daemon asks until there is an end
            if machine.records.outcome() is None:
                try:
                    attempt = machine.records.attempt()
                    if attempt is None or attempt.phase == "installing":
                        machine.ask("install")
                    machine.ask("restart")
                    machine.start(verdict)
                except Cut:
                    cuts += 1
                    machine.start(verdict)
        state, reason = machine.outcome
        machine.start()

        assert machine.slots.booted == ("B" if state == "updated" else "A"), f"cut {at}"
        assert state == "updated" or reason in (verdict.reason, Reason.NEVER_CAME_UP), f"cut {at}"
        if state == "updated":
            assert verdict == GOOD
        if at > 8:
            break
    assert cuts >= 5

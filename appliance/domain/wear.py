"""What the machine says of its own wear and power, and when a person should look.

Cards do not die without warning: they are written to more than they bear, the file system counts errors, flash that
keeps count of its life says so, and a supply that sags ruins what is being written.
"""

from collections import deque
from itertools import pairwise
from typing import Literal

import msgspec

from appliance.domain.health import MachineView

DAY_S = 86_400.0
SAMPLE_S = 3_600.0
# What its maker promises is used up to nine tenths: the card is ordered before it is needed.
LIFE_USED_BAD = 0.9


class BoardReading(msgspec.Struct, frozen=True):
    """One look at the machine. None: it does not say. `written_bytes`: to the disk of the state, since the boot.

    `life_used_ratio`: of what the flash was made for, in tenths. `under_voltage`: now or since the look before.
    `clock`: a clock that runs without power is there. `watchdog`: whether the hardware resets a machine that hangs.
    """

    written_bytes: int | None = None
    disk_errors: int | None = None
    life_used_ratio: float | None = None
    under_voltage: bool | None = None
    clock: bool = False
    watchdog: Literal["armed", "off", "none"] = "none"


class Written:
    """Bytes written in the last 24 hours, from a counter that began at 0 with the machine's boot.

    Between two samples writing is taken to be even. So also a daemon that was just started knows a day: the mean since
    the boot. A machine that has run for less than a day has written what it has written.
    """

    def __init__(self) -> None:
        self._samples = deque([(0.0, 0)])

    def note(self, up_s: float, total: int) -> None:
        """The counter stood there, that long after the boot."""
        newest_s, _ = self._samples[-1]
        if up_s - newest_s >= SAMPLE_S or len(self._samples) == 1:
            self._samples.append((up_s, total))
        while len(self._samples) > 2 and self._samples[1][0] <= up_s - DAY_S:
            self._samples.popleft()

    def in_a_day(self, up_s: float, total: int) -> int:
        """How much in the last 24 hours, of which this is the end."""
        from_s = up_s - DAY_S
        if from_s <= 0:
            return total
        points = [*self._samples, (up_s, total)]
        for (before_s, before), (after_s, after) in pairwise(points):
            if before_s <= from_s < after_s:
                return round(total - before - (after - before) * (from_s - before_s) / (after_s - before_s))
        return total - points[-1][1]


def view(reading: BoardReading, written: Written, up_s: float) -> MachineView:
    """What the box tells of a reading, which is noted."""
    day = None
    if reading.written_bytes is not None:
        day = written.in_a_day(up_s, reading.written_bytes)
        written.note(up_s, reading.written_bytes)
    return MachineView(
        written_day_bytes=day,
        disk_errors=reading.disk_errors,
        life_used_ratio=reading.life_used_ratio,
        under_voltage=reading.under_voltage,
        clock=reading.clock,
        watchdog=reading.watchdog,
    )


def wear_issues(machine: MachineView, written_day_max: int) -> list[str]:
    """The stable codes of what a person should look at."""
    worn, errors = machine.life_used_ratio or 0.0, machine.disk_errors or 0
    rules = (
        (errors > 0, "disk-errors"),
        (worn >= LIFE_USED_BAD, "disk-worn"),
        ((machine.written_day_bytes or 0) > written_day_max, "disk-wearing"),
        (bool(machine.under_voltage), "under-voltage"),
        (machine.watchdog == "off", "watchdog-off"),
    )
    return [code for hit, code in rules if hit]

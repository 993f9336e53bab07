"""The box's journal in a process of its own, on a disk whose power is cut, again and again.

One case is one new disk and a dozen cuts on it, each followed by a start and a judgement of all that was promised so
far. A cut comes at a chosen call (in one of three cases during start and recovery), right after a chosen ack, or at
any moment.
"""

import os
import random
from functools import partial

import msgspec

from campaigns.powercut.children import Child, Tell
from campaigns.powercut.disk import MODELS, Model
from campaigns.powercut.mount import Mount
from campaigns.powercut.oracle import Ledger, Verdict, judge
from campaigns.powercut.plants import LYING_FSYNC
from campaigns.powercut.tally import Broken, Tally
from campaigns.powercut.workload import Job, run

CUTS_PER_DISK = 12
SALES_MAX = 150
FILE = "journal.db"

# A start makes about as many changes; a run of all its sales, some ten times this.
_CALLS_OF_A_START = 30
_CALLS_MAX = 300
_MOMENT_MAX_S = 0.15


class Disk:
    """One case: a new disk, what the box promised on it, and the figures it adds to."""

    def __init__(self, mount: Mount, case: str, plant: str, tally: Tally) -> None:
        mount.wipe()
        if plant == LYING_FSYNC:
            mount.lie()
        self.mount = mount
        self.case = case
        self.plant = plant
        self.tally = tally
        self.rng = random.Random(case)
        self.path = mount.folder / FILE
        self._ledger = Ledger()

    def job(self, sales: int, *, crash: bool = False) -> Job:
        """The next run: sales that were not sent before."""
        first = max(self._ledger.sent, default=-1) + 1
        seed = f"{self.case}/{first}"
        return Job(seed, first, sales, self.rng.choice([1, 1, 4, 16]), self.plant, crash)

    def note(self, line: str) -> None:
        """Take in what the box told."""
        if (broken := self._ledger.note(line)) is not None:
            self.breaks(broken)

    def breaks(self, detail: str) -> None:
        """Note a broken promise."""
        self.tally.broken.append(Broken(self.case, detail))

    def judge(self) -> bool:
        """Power on, a fresh process, all promises; whether they hold. If not, this disk has told what it can."""
        self.mount.power_on()
        lines, status = Child(lambda tell: tell(_verdict_line(self, self._ledger))).finish()
        if status != 0:
            self.breaks(f"the judge could not look: {lines}")
            return False
        verdict = msgspec.json.decode(lines[-1], type=Verdict)
        self.tally.lost += verdict.lost
        for detail in verdict.broken:
            self.breaks(detail)
        self._ledger.acked |= verdict.acked
        return not verdict.broken

    def end(self) -> None:
        """Count what was promised."""
        self.tally.acked += len(self._ledger.acked)


def cut_disk(mount: Mount, case: str, plant: str, tally: Tally) -> None:
    """One case: a new disk, and a dozen cuts."""
    disk = Disk(mount, case, plant, tally)
    for number in range(CUTS_PER_DISK):
        model, seed = disk.rng.choice(MODELS), f"{case}/{number}"
        _run_and_cut(disk, model, seed)
        tally.counts["cuts"] += 1
        tally.counts[model] += 1
        if not disk.judge():
            break
    disk.end()


def _run_and_cut(disk: Disk, model: Model, seed: str) -> None:
    when = disk.rng.choice(["call", "call", "call", "ack", "moment"])
    job = disk.job(SALES_MAX)
    if when == "call":
        starting = disk.rng.random() < 1 / 3
        at = disk.rng.randint(1, _CALLS_OF_A_START if starting else _CALLS_MAX)
        child = Child(partial(_armed, disk, job, at, model, seed))
    else:
        child = Child(partial(run, disk.path, job))
        _watch(disk, child, when)
        disk.mount.cut(child.pid, model, seed)
    lines, status = child.finish()
    for line in lines:
        disk.note(line)
    if status == 0 and when == "call":
        disk.mount.cut(0, model, seed)  # it was done before its call came
    elif status > 0 and when == "call":
        disk.breaks(f"the box ended before the cut: {lines[-1:]}")


def _armed(disk: Disk, job: Job, at: int, model: Model, seed: str, tell: Tell) -> None:
    """The process arms its own cut: so the calls are counted from its first one."""
    disk.mount.arm(at, os.getpid(), model, seed)
    run(disk.path, job, tell)


def _watch(disk: Disk, child: Child, when: str) -> None:
    """Listen up to the moment of the cut."""
    acks = disk.rng.randint(1, SALES_MAX // 2)
    within_s = disk.rng.uniform(0, _MOMENT_MAX_S) if when == "moment" else 10.0
    try:
        for line in child.lines(within_s):
            disk.note(line)
            acks -= line.startswith("ack ")
            if when == "ack" and acks <= 0:
                return
    except TimeoutError:
        return


def _verdict_line(disk: Disk, ledger: Ledger) -> str:
    return msgspec.json.encode(judge(disk.path, ledger)).decode()

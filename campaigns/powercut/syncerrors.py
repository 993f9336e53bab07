"""A disk whose fsync fails: the journal must stop, and the next start must not build on what only the cache holds.

One case: a run in which one to three fsyncs fail with EIO, as Linux does it (the pages count as clean, the cache shows
them, the disk never gets them); the process crashes or ends, and starts again as a supervisor would; it sells some
more; then the power goes and nothing that was not fsynced survives.
"""

from functools import partial

from campaigns.powercut.children import Child, Tell
from campaigns.powercut.cuts import Disk
from campaigns.powercut.mount import Mount
from campaigns.powercut.tally import Tally
from campaigns.powercut.workload import Job, run

_SALES_BEFORE, _SALES_AFTER = 50, 40
_SYNCS_MAX = 40
_STARTS_MAX = 6


def fail_disk(mount: Mount, case: str, plant: str, tally: Tally) -> None:
    """One case, from a new disk to its judgement."""
    disk = Disk(mount, case, plant, tally)
    after, times = disk.rng.randint(0, _SYNCS_MAX), disk.rng.randint(1, 3)
    job = disk.job(_SALES_BEFORE, crash=disk.rng.random() < 0.7)
    _listen(disk, Child(partial(_failing, disk, job, after, times)))
    for _ in range(_STARTS_MAX):
        tally.counts["restarts"] += 1
        # It dies with its power: an orderly end would bring everything home.
        job = disk.job(disk.rng.randint(1, _SALES_AFTER), crash=True)
        if _listen(disk, Child(partial(run, disk.path, job))):
            break
    else:
        disk.breaks(f"the box does not start again in {_STARTS_MAX} tries")
    tally.counts["failed fsyncs"] += mount.answer().failed
    tally.counts["cuts"] += 1
    mount.cut(0, "lose", case)
    disk.judge()
    disk.end()


def _failing(disk: Disk, job: Job, after: int, times: int, tell: Tell) -> None:
    disk.mount.fail_syncs(after, times)
    run(disk.path, job, tell)


def _listen(disk: Disk, child: Child) -> bool:
    """Take in all it tells; whether it sold to its end."""
    lines, status = child.finish()
    for line in lines:
        disk.note(line)
    return status == 0 and "fault" not in lines

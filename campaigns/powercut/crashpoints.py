"""Every crash point of a recorded day, rebuilt in memory and judged: no process runs again.

A recording is the list of disk operations of the box's real journal code on the lossy file system, with what it told
the world standing between them. Before each operation the power is cut in every model, within each sector of a write
that is under way, and with single sectors missing. Pure functions of the recording: the same point, the same files.
"""

import os
import random
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from campaigns.powercut.children import Child, Tell
from campaigns.powercut.cuts import FILE
from campaigns.powercut.disk import SECTOR, AnyOp, Disk, Image, Model, Write, change, sectors
from campaigns.powercut.mount import Mount
from campaigns.powercut.plants import LYING_FSYNC
from campaigns.powercut.workload import Job, run

# Tries of each model that draws lots, at each point.
DRAWS: dict[Model, int] = {"prefix": 1, "subset": 3, "torn": 3}
HOLES = 3
# SQLite's shared memory is no data: whoever opens first makes it anew.
_VOLATILE = "-shm"
# The first runs of a recorded day end in a power cut, at the latest at so many changes of the disk.
_CUT_RUNS_CALLS = (450, 250)
_SALES_OF_RUNS = (60, 40, 80, 20)


class Point(NamedTuple):
    """A moment (before operation `at`), what the cut did (`variant`), and the files it left."""

    at: int
    variant: str
    image: Image


def record(mount: Mount, case: str, plant: str) -> list[AnyOp]:
    """A day on a new disk: two runs that end in a power cut, one that closes well, one that crashes."""
    rng = random.Random(case)
    mount.wipe()
    if plant == LYING_FSYNC:
        mount.lie()
    for number, sales in enumerate(_SALES_OF_RUNS):
        calls = dict(enumerate(_CUT_RUNS_CALLS)).get(number)
        at = None if calls is None else rng.randint(calls // 3, calls)
        crash = number == len(_SALES_OF_RUNS) - 1
        job = Job(f"{case}/{number}", number * 1_000, sales, rng.choice([1, 2, 8]), plant, crash)
        Child(partial(_recorded, mount, job, at, rng.choice(["lose", "subset", "torn"]))).finish()
        mount.power_on()
    return mount.recording()


def _recorded(mount: Mount, job: Job, at: int | None, model: Model, _: Tell) -> None:
    """Run the job; what it tells goes into the recording, right where it is told."""
    if at is not None:
        mount.arm(at, os.getpid(), model, job.seed)
    told = os.open(mount.told, os.O_WRONLY)

    def tell(line: str) -> None:
        os.pwrite(
            told, line.encode(), 0
        )  # always at the start: the kernel splits what runs over a page's end

    run(mount.folder / FILE, job, tell)


def points(ops: Sequence[AnyOp], seed: str) -> Iterator[Point]:
    """All crash points of a recording, from the new disk to the end of the day."""
    disk = Disk()
    for index, op in enumerate(ops):
        if not _is_volatile(disk, op):
            yield from _points_before(disk, op, index, seed)
        disk.apply(op)
    yield from _points_before(disk, None, len(ops), seed)


def _points_before(disk: Disk, op: AnyOp | None, index: int, seed: str) -> Iterator[Point]:
    for variant, image in _cuts_before(disk, op, f"{seed}/{index}"):
        lasting = {name: data for name, data in image.items() if not name.endswith(_VOLATILE)}
        yield Point(index, variant, lasting)


def _is_volatile(disk: Disk, op: AnyOp) -> bool:
    touched = getattr(op, "inode", 0)
    names = [name for name, inode in disk.names.items() if inode == touched] or [getattr(op, "name", "")]
    return names[0].endswith(_VOLATILE)


def _cuts_before(disk: Disk, op: AnyOp | None, seed: str) -> Iterator[tuple[str, Image]]:
    rng = random.Random(seed)
    yield "lose", disk.after_cut("lose", rng)
    if any(file.pending for file in disk.files.values()) or disk.names != disk.durable_names:
        yield "keep", disk.after_cut("keep", rng)
        for model, tries in DRAWS.items():
            for number in range(tries):
                variant = f"{model}:{number}"
                yield variant, disk.after_cut(model, random.Random(f"{seed}/{variant}"))
        yield from _holes(disk, rng)
    if isinstance(op, Write):
        yield from _tears(disk, op, rng)


def _tears(disk: Disk, op: Write, rng: random.Random) -> Iterator[tuple[str, Image]]:
    """All arrived that was sent before, and of the write that is under way some whole sectors, or a part of one."""
    before = disk.files[op.inode].arrived()
    for length in (*range(SECTOR, len(op.data), SECTOR), rng.randint(1, len(op.data))):
        content = bytearray(before)
        change(content, Write(op.inode, op.offset, op.data[:length]))
        yield f"tear:{length}", _all_but(disk, op.inode, bytes(content))


def _holes(disk: Disk, rng: random.Random) -> Iterator[tuple[str, Image]]:
    """Everything arrived but one sector."""
    for inode, file in disk.files.items():
        pieces = [piece for op in file.pending for piece in sectors(op)]
        for lacking in rng.sample(range(len(pieces)), min(HOLES, len(pieces))):
            content = file.with_changes(pieces[:lacking] + pieces[lacking + 1 :])
            yield f"hole:{lacking}", _all_but(disk, inode, content)


def _all_but(disk: Disk, inode: int, content: bytes) -> Image:
    """The files as everything that was sent makes them, but for one."""
    return {
        name: content if there == inode else disk.files[there].arrived() for name, there in disk.names.items()
    }

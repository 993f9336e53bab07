"""`python -m campaigns.powercut`: cut the power of the journal's disk at every moment, and count what was lost.

Three campaigns: real cuts under a real process (`cuts`), fsyncs that fail (`errors`), and every crash point of recorded
days (`recordings`). Each case is named `CAMPAIGN/SEED/NUMBER`; `--case` runs one again. A recording that breaks a
promise is kept as a file, which `--case` takes too. Exit codes: 0 no promise is broken, 1 one is, 2 misuse, or no lossy
file system can be had.
"""

import argparse
import gc
import json
import logging
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import msgspec

from campaigns.powercut.crashpoints import points, record
from campaigns.powercut.cuts import CUTS_PER_DISK, cut_disk
from campaigns.powercut.disk import AnyOp
from campaigns.powercut.mount import Mount, Unusable, mounted
from campaigns.powercut.plants import NONE, OPENERS
from campaigns.powercut.points import PointJudge
from campaigns.powercut.sales import DRAFTS_KEPT, draft_of
from campaigns.powercut.syncerrors import fail_disk
from campaigns.powercut.tally import Broken, Tally

Case = Callable[[Mount, str, str, Tally], None]

# A figure of broken cases says enough; the first ones tell what happened.
_SHOWN = 10
_MEMORY_DISK = Path("/dev/shm")  # noqa: S108  a folder of our own is made in it


def main() -> None:
    """Entry point."""
    parser = _parser()
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: nothing stays mounted
    logging.disable()  # a journal that stops says so at length; here it is what is wanted
    for number in range(DRAFTS_KEPT // 2):
        draft_of(number)
    gc.freeze()  # what is loaded by now is shared with every process forked from here
    tallies = []
    try:
        with mounted() as mount:
            for name, case, numbers in _campaigns(options, parser):
                tally = Tally(name)
                with tally.timed():
                    _run(mount, case, [f"{name}/{options.seed}/{n}" for n in numbers], options, tally)
                print(tally, file=sys.stderr if options.json else sys.stdout)
                tallies.append(tally)
    except Unusable as error:
        parser.exit(2, f"powercut: {error}\n")
    if options.json:
        print(json.dumps([_builtins(tally) for tally in tallies]))
    broken = [one for tally in tallies for one in tally.broken]
    for one in broken[:_SHOWN]:
        print(f"BROKEN {one.case}: {one.detail}\n  again: {_again(one.case, options.plant)}", file=sys.stderr)
    sys.exit(1 if broken else 0)


def _campaigns(
    options: argparse.Namespace, parser: argparse.ArgumentParser
) -> Iterator[tuple[str, Case, list[int]]]:
    recordings = partial(_enumerate, every=options.every, stop=options.stop)
    cases: dict[str, Case] = {"cuts": cut_disk, "errors": fail_disk, "recordings": recordings}
    if options.case is not None and options.case.endswith(".ops"):
        if not Path(options.case).is_file():
            parser.error(f"no such recording: {options.case}")
        kept = partial(_kept_recording, Path(options.case), every=options.every, stop=options.stop)
        yield "recordings", kept, [0]
        return
    if options.case is not None:
        name, _, rest = options.case.partition("/")
        seed, _, number = rest.rpartition("/")
        if name not in cases or not number.isdecimal():
            parser.error(f"no such case: {options.case}")
        options.seed = seed
        yield name, cases[name], [int(number)]
        return
    numbers = {
        "cuts": -(-options.cuts // CUTS_PER_DISK),
        "errors": options.errors,
        "recordings": options.recordings,
    }
    yield from ((name, cases[name], list(range(count))) for name, count in numbers.items() if count)


def _run(mount: Mount, case: Case, names: list[str], options: argparse.Namespace, tally: Tally) -> None:
    for number, name in enumerate(names, 1):
        case(mount, name, options.plant, tally)
        if sys.stderr.isatty():
            done = number == len(names) or (tally.broken and options.stop)
            word = "" if done else f"{tally.name}: {number} of {len(names)}"
            print(f"\r\033[K{word}", end="", file=sys.stderr, flush=True)
        if tally.broken and options.stop:
            return


def _enumerate(mount: Mount, case: str, plant: str, tally: Tally, *, every: int, stop: bool) -> None:
    """One recording, all its crash points (or every so many). A recording that breaks a promise is kept."""
    ops = record(mount, case, plant)
    before = len(tally.broken)
    _judge_recording(case, ops, tally, every=every, stop=stop)
    if len(tally.broken) > before and plant == NONE:
        kept = Path(case.replace("/", "-") + ".ops")
        kept.write_bytes(msgspec.msgpack.encode((case, ops)))
        tally.broken[before:] = [Broken(str(kept), one.detail) for one in tally.broken[before:]]


def _judge_recording(case: str, ops: list[AnyOp], tally: Tally, *, every: int, stop: bool) -> None:
    tally.counts["operations"] += len(ops)
    place = _MEMORY_DISK if _MEMORY_DISK.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="powercut-", dir=place) as folder:
        judge = PointJudge(ops, Path(folder))
        for point in islice(points(ops, case), 0, None, every):
            tally.counts["crash points"] += 1
            tally.counts["torn or with holes"] += point.variant.startswith(("tear", "torn", "hole", "subset"))
            for detail in judge.judge(point):
                tally.broken.append(
                    Broken(case, f"cut before operation {point.at}, {point.variant}: {detail}")
                )
            if tally.broken and stop:
                break
    tally.counts["different images"] += judge.images
    tally.counts["different journals"] += judge.contents
    tally.acked += judge.acked
    tally.lost += judge.lost


def _kept_recording(kept: Path, _: Mount, __: str, ___: str, tally: Tally, *, every: int, stop: bool) -> None:
    """A recording that was kept when it broke a promise: the same operations, the same crash points."""
    case, ops = msgspec.msgpack.decode(kept.read_bytes(), type=tuple[str, list[AnyOp]])
    _judge_recording(case, ops, tally, every=every, stop=stop)
    tally.broken = [Broken(str(kept), one.detail) for one in tally.broken]


def _again(case: str, plant: str) -> str:
    planted = "" if plant == NONE else f" --plant {plant}"
    return f'make powercut ARGS="--case {case}{planted}"'


def _builtins(tally: Tally) -> dict[str, object]:
    return {
        "name": tally.name,
        "counts": dict(tally.counts),
        "acked": tally.acked,
        "lost": tally.lost,
        "broken": [[one.case, one.detail] for one in tally.broken],
        "seconds": round(tally.seconds, 2),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m campaigns.powercut",
        description="Cut the power of the journal's disk, at every moment.",
    )
    parser.add_argument("--cuts", type=int, default=600, help="real cuts, in disks of a dozen (600)")
    parser.add_argument("--errors", type=int, default=100, help="disks whose fsync fails (100)")
    parser.add_argument(
        "--recordings", type=int, default=4, help="days of which every crash point is judged (4)"
    )
    parser.add_argument("--every", type=int, default=1, help="judge only every N-th crash point (1)")
    parser.add_argument("--seed", default="1", help="everything that is drawn follows from it (1)")
    parser.add_argument("--plant", choices=OPENERS, default=NONE, help="a mistake that must be found")
    parser.add_argument(
        "--case", help="one case alone, as it was named when it broke, or the recording kept then"
    )
    parser.add_argument(
        "--stop", action="store_true", help="end a campaign at the first case that broke a promise"
    )
    parser.add_argument("--json", action="store_true", help="the figures as JSON on standard output")
    return parser


if __name__ == "__main__":
    main()

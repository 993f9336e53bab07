"""`python -m campaigns.hostile [--requests N]`: attack a box while its tills sell; fail when a promise breaks.

Exit codes: 0 all promises held, 1 one broke, 2 misuse.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import psutil

from bench.processes import Failed
from campaigns.hostile import records
from campaigns.hostile.attack import Attack
from campaigns.hostile.requests import Request, damaged, made_of, noise, oversized
from campaigns.hostile.sellers import Sellers, selling
from campaigns.hostile.shop import Target, get, open_shop
from campaigns.hostile.tally import Rate, Report, attacked_in, quiet_in, report

SELLERS = 4
# Quiet and attacked in turns, and compared within each round: what else the machine does weighs on both. Memory counts
# after the first rounds: caches, pools, the first of everything.
ROUNDS, WARM_UP = 10, 0.2
# Of the real-time priorities the lowest: before everything else on this machine.
FIRST = 1
# One of so many is slow: it takes seconds, where the others take milliseconds.
SLOW_EVERY = 50

Say = Callable[[str], None]


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="campaigns.hostile", description="a shop's network turned hostile")
    parser.add_argument("--requests", type=int, default=10_000, help="how many (10000)")
    parser.add_argument("--per-s", type=float, default=60.0, help="how many a second (60)")
    parser.add_argument("--rounds", type=_rounds, default=ROUNDS, help=f"in so many parts ({ROUNDS})")
    parser.add_argument(
        "--quiet-s", type=float, default=15.0, help="how long tills sell undisturbed in each round (15)"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--no-gates", action="store_true", help="memory and p99 break nothing: for a short or busy run"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        done = campaign(
            options.requests,
            options.rounds,
            per_s=options.per_s,
            quiet_s=options.quiet_s,
            seed=options.seed,
            say=_progress,
        )
    except Failed as error:
        sys.exit(f"hostile: {error}")
    print(msgspec.json.format(msgspec.json.encode(done)).decode() if options.json else _table(done))
    if broken := done.broken(gates=not options.no_gates):
        sys.exit("\n".join(f"hostile: {what}" for what in broken))


def campaign(count: int, rounds: int, *, per_s: float, quiet_s: float, seed: int, say: Say) -> Report:
    """The whole of it, against a box that it starts."""
    with tempfile.TemporaryDirectory() as folder, open_shop(Path(folder), SELLERS + 1) as target:
        *tills, rogue = target.tills
        document = json.loads(get(target, "/openapi.json", rogue))
        say(f"drawing {count} requests")
        slow = count // SLOW_EVERY
        work = _work(document, count - slow, seed)
        attack = Attack(target, rogue, random.Random(seed))
        process, begun = psutil.Process(target.pid), psutil.Process(target.pid).create_time()
        used, spent_s = list[int](), 0.0

        def quiet(number: int) -> None:
            say(f"round {number + 1} of {rounds}: undisturbed for {quiet_s:g} s")
            with sellers.phase(quiet_in(number)):
                time.sleep(quiet_s)

        def attacked(number: int) -> None:
            nonlocal spent_s
            part, dawdlers = work[number::rounds], range(number, slow, rounds)
            say(f"round {number + 1} of {rounds}: {len(part)} requests and {len(dawdlers)} that never end")
            spent_s += asyncio.run(_send(attack, sellers, attacked_in(number), part, dawdlers, per_s))
            used.append(process.memory_info().rss)

        with selling(target, tills) as sellers:
            _let_go_first(target.pid, sellers.pid)
            for number in range(rounds):
                # The order turns round, so that a drift favours nobody.
                for turn in (quiet, attacked) if number % 2 == 0 else (attacked, quiet):
                    turn(number)
        alive = process.is_running() and process.create_time() == begun and _answers(target)
        grown = used[-1] - used[int(rounds * WARM_UP)]
        return report(document, attack, Rate(per_s, len(work) / spent_s), alive, grown, sellers.sold)


def _let_go_first(*pids: int) -> None:
    """Give box and tills a processor whenever they want one, as on machines of their own.

    In a shop attackers work elsewhere, and nobody else is there at all; here both would be counted as the box's doing.
    Without the right to do so (root has it) they are: then only a machine that does nothing else tells the truth.
    """
    try:
        for pid in pids:
            for thread in psutil.Process(pid).threads():
                os.sched_setscheduler(thread.id, os.SCHED_FIFO, os.sched_param(FIRST))
    except PermissionError:
        print("hostile: box and tills share the processors with all else here", file=sys.stderr)


def _work(document: dict[str, object], count: int, seed: int) -> list[Request]:
    rng = random.Random(seed)
    api = made_of(document, count // 2, seed)
    rest = count - len(api)
    work = [*api, *noise(rest // 4, seed)]
    work += damaged(api, rest // 4, rng)
    work += oversized(rest // 8, rng)
    work += [Request("tls", "", data) for data in records.broken(count - len(work), rng)]
    rng.shuffle(work)
    return work


async def _send(
    attack: Attack, sellers: Sellers, phase: str, work: list[Request], dawdlers: Iterable[int], per_s: float
) -> float:
    """Attack; sales count until the last request is answered, not while only slow clients are left to be cut.

    How long that took, in seconds.
    """
    begun_s = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        with sellers.phase(phase):
            sent = group.create_task(attack.send_all(work, per_s))
            for number in dawdlers:
                group.create_task(attack.dawdle(number))
                await asyncio.sleep(SLOW_EVERY / per_s)
            await sent
        return time.perf_counter() - begun_s


def _answers(target: Target) -> bool:
    try:
        return bool(get(target, "/v1/status", target.tills[0]))
    except (Failed, OSError):
        return False


def _rounds(text: str) -> int:
    if not text.isdigit() or int(text) < 2:
        raise argparse.ArgumentTypeError("2 or more: memory counts after the first")
    return int(text)


def _progress(text: str) -> None:
    print(f"hostile: {text}", file=sys.stderr, flush=True)


def _table(done: Report) -> str:
    lines = [f"{times:8}  {outcome}" for outcome, times in done.outcomes.items()]
    lines += [
        f"{one.sales[0]:8}  sales, {one.sales[1]} under attack; p50 {one.p50_ms[0]:.1f} → {one.p50_ms[1]:.1f} ms, "
        f"p99 {one.p99_ms[0]:.1f} → {one.p99_ms[1]:.1f} ms"
        for one in done.rounds
    ]
    lines += [
        f"{done.sent:8}  sent, {done.rate.kept:.0f} a second; daemon {'alive' if done.alive else 'DEAD'}, "
        f"memory {done.memory_mib:+.1f} MiB; p99 of a sale {done.slower:.2f} times the undisturbed",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()

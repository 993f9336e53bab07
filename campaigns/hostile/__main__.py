"""`python -m campaigns.hostile [--requests N]`: attack a box while its tills sell; fail when a promise breaks.

Exit codes: 0 all promises held, 1 one broke, 2 misuse.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil

from bench.processes import Failed
from campaigns.hostile import records
from campaigns.hostile.attack import Attack
from campaigns.hostile.requests import Request, damaged, made_of, noise, oversized
from campaigns.hostile.sellers import selling
from campaigns.hostile.shop import Target, get, open_shop
from campaigns.hostile.tally import Report, report

SELLERS = 4
# Before memory counts: caches, pools, the first of everything.
WARM_UP = 0.2
# One of so many is slow: it takes seconds, where the others take milliseconds.
SLOW_EVERY = 50

Say = Callable[[str], None]


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="campaigns.hostile", description="a shop's network turned hostile")
    parser.add_argument("--requests", type=int, default=10_000, help="how many (10000)")
    parser.add_argument("--per-s", type=float, default=60.0, help="how many a second (60)")
    parser.add_argument("--quiet-s", type=float, default=20.0, help="how long tills sell undisturbed first")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--no-gates", action="store_true", help="memory and p99 break nothing: for a short or busy run"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        done = campaign(options.requests, options.per_s, options.quiet_s, options.seed, _progress)
    except Failed as error:
        sys.exit(f"hostile: {error}")
    print(msgspec.json.format(msgspec.json.encode(done)).decode() if options.json else _table(done))
    if broken := done.broken(gates=not options.no_gates):
        sys.exit("\n".join(f"hostile: {what}" for what in broken))


def campaign(count: int, per_s: float, quiet_s: float, seed: int, say: Say) -> Report:
    """The whole of it, against a box that it starts."""
    with tempfile.TemporaryDirectory() as folder, open_shop(Path(folder), SELLERS + 1) as target:
        *tills, rogue = target.tills
        document = json.loads(get(target, "/openapi.json", rogue))
        say(f"drawing {count} requests")
        slow = count // SLOW_EVERY
        work = _work(document, count - slow, seed)
        say(f"tills sell undisturbed for {quiet_s:g} s")
        with selling(target, tills) as quiet:
            time.sleep(quiet_s)
        attack = Attack(target, rogue, random.Random(seed))
        process, begun = psutil.Process(target.pid), psutil.Process(target.pid).create_time()
        warm, main_part = work[: int(len(work) * WARM_UP)], work[int(len(work) * WARM_UP) :]
        with selling(target, tills) as attacked:
            asyncio.run(_send(attack, warm, int(slow * WARM_UP), per_s, say))
            before = process.memory_info().rss
            asyncio.run(_send(attack, main_part, slow - int(slow * WARM_UP), per_s, say))
            grown = process.memory_info().rss - before
        alive = process.is_running() and process.create_time() == begun and _answers(target)
        outcomes, suspicious, uncut = attack.outcomes, attack.suspicious, attack.uncut
        return report(document, outcomes, suspicious, uncut, alive, grown, quiet[0], attacked[0])


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


async def _send(attack: Attack, work: list[Request], slow: int, per_s: float, say: Say) -> None:
    say(f"{len(work)} requests, {per_s:g} a second, and {slow} that never end")
    async with asyncio.TaskGroup() as group:
        group.create_task(attack.send_all(work, per_s))
        for number in range(slow):
            group.create_task(attack.dawdle(number))
            await asyncio.sleep(SLOW_EVERY / per_s)


def _answers(target: Target) -> bool:
    try:
        return bool(get(target, "/v1/status", target.tills[0]))
    except (Failed, OSError):
        return False


def _progress(text: str) -> None:
    print(f"hostile: {text}", file=sys.stderr, flush=True)


def _table(done: Report) -> str:
    lines = [f"{times:8}  {outcome}" for outcome, times in done.outcomes.items()]
    lines += [
        f"{done.sent:8}  sent; daemon {'alive' if done.alive else 'DEAD'}, memory {done.memory_mib:+.1f} MiB",
        f"{done.sales:8}  sales meanwhile; p50 {done.p50_ms[0]:.1f} → {done.p50_ms[1]:.1f} ms, "
        f"p99 {done.p99_ms[0]:.1f} → {done.p99_ms[1]:.1f} ms",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()

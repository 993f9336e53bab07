"""`make simulate`: many seeds on all cores, what befell them, and how to see a broken promise again."""

import argparse
import functools
import multiprocessing
import os
import sys
from collections import Counter

from appliance.runtime.clock import SystemClock
from campaigns.simulation.clock import DAY_S
from campaigns.simulation.seeds import Outcome, live

SAY_EVERY = 20


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = argparse.ArgumentParser(prog="make simulate ARGS=...", description=__doc__)
    made.add_argument("--seed", type=int, help="one seed alone, with the end of its trace")
    made.add_argument("--seeds", type=int, default=200, help="how many (default: 200)")
    made.add_argument("--first", type=int, default=0, help="the first one (default: 0)")
    made.add_argument("--days", type=float, default=1.0, help="shop-days per seed (default: 1)")
    made.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    return made


def replay(seed: int, days: float) -> int:
    """One seed, told."""
    outcome = live(seed, days)
    for line in outcome.last:
        print("   ", line)
    print(f"seed {seed}: {outcome.virtual_s / DAY_S:.2f} days, {outcome.sales} sales, trace {outcome.trace}")
    for kind, count in outcome.faults.items():
        print(f"    {count:6} {kind}")
    for broken in outcome.broken:
        print(f"BROKEN {broken}")
    return 1 if outcome.broken else 0


def campaign(seeds: range, days: float, processes: int) -> int:
    """Many seeds; the tally, and 1 when a promise broke."""
    clock = SystemClock()
    began_s = clock.monotonic()
    total = Tally(days)
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for outcome in pool.imap_unordered(functools.partial(live, days=days), seeds):
            total.add(outcome)
            if total.seeds % SAY_EVERY == 0:
                total.say(clock.monotonic() - began_s)
    total.say(clock.monotonic() - began_s)
    total.say_faults()
    return 1 if total.broken else 0


class Tally:
    """What all seeds came to."""

    def __init__(self, days: float) -> None:
        self.seeds = self.sales = self.acked = self.events = self.checks = self.broken = 0
        self.virtual_s = 0.0
        self.faults: Counter[str] = Counter()
        self._days = days

    def add(self, outcome: Outcome) -> None:
        """One more; a broken promise is told at once."""
        self.seeds += 1
        self.sales += outcome.sales
        self.acked += outcome.acked
        self.events += outcome.events
        self.checks += outcome.checks
        self.virtual_s += outcome.virtual_s
        self.faults.update(outcome.faults)
        if outcome.broken:
            self.broken += 1
            how = f'make simulate ARGS="--seed {outcome.seed}{"" if self._days == 1 else f" --days {self._days:g}"}"'
            print(f"BROKEN seed {outcome.seed}: {outcome.broken[0]}\n    again: {how}", flush=True)

    def say(self, took_s: float) -> None:
        """One line of figures."""
        days = self.virtual_s / DAY_S
        print(
            f"{self.seeds} seeds, {days:,.1f} shop-days ({days / 365.25:.2f} years), {self.sales:,} sales"
            f" ({self.acked:,} acked by the box), {self.events:,} events, {self.checks:,} checks,"
            f" {self.broken} seeds broken; {self.virtual_s / took_s:,.0f} x real time,"
            f" {self.seeds / took_s:.2f} seeds/s",
            flush=True,
        )

    def say_faults(self) -> None:
        """How often each kind struck."""
        for kind, count in sorted(self.faults.items()):
            print(f"{count:9,} {kind}")


def main() -> int:
    """0 when every promise held, 1 when not, 2 on misuse."""
    asked = parser().parse_args()
    if asked.seed is not None:
        return replay(asked.seed, asked.days)
    return campaign(range(asked.first, asked.first + asked.seeds), asked.days, asked.jobs)


if __name__ == "__main__":
    sys.exit(main())

"""What a campaign came to: figures, and the promises that were broken."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from bench.rounds import percentile
from campaigns.hostile.attack import Answered
from campaigns.hostile.sellers import Sold

MEMORY_MIB_MAX = 8.0
SLOWER_MAX = 2.0


class Report(msgspec.Struct, frozen=True):
    """The figures. `p99_ms`: undisturbed, and under attack."""

    sent: int
    outcomes: dict[str, int]
    undocumented: list[str]
    uncut: list[str]
    alive: bool
    memory_mib: float
    sales: int
    sales_refused: list[str]
    sales_lost: int
    p50_ms: tuple[float, float]
    p99_ms: tuple[float, float]

    def broken(self, *, gates: bool = True) -> list[str]:
        """What was promised and does not hold; `gates`: also what only a long run on a quiet machine can tell."""
        wrong = [f"not documented: {text}" for text in self.undocumented]
        wrong += [f"not cut off: {text}" for text in self.uncut]
        wrong += [f"a till was refused: {text}" for text in self.sales_refused]
        if not self.alive:
            wrong.append("the daemon died")
        if self.sales_lost:
            wrong.append(f"tills lost their connection {self.sales_lost} times")
        if gates and self.memory_mib > MEMORY_MIB_MAX:
            wrong.append(f"memory grew by {self.memory_mib:.1f} MiB")
        if gates and self.p99_ms[1] > SLOWER_MAX * self.p99_ms[0]:
            wrong.append(f"p99 of a sale went from {self.p99_ms[0]:.1f} ms to {self.p99_ms[1]:.1f} ms")
        return wrong


def report(
    document: Mapping[str, Any],
    outcomes: Counter[tuple[str, str]],
    suspicious: list[Answered],
    uncut: list[str],
    alive: bool,
    memory_bytes: int,
    quiet: Sold,
    attacked: Sold,
) -> Report:
    """Put it together."""
    return Report(
        sent=outcomes.total(),
        outcomes={f"{kind} {outcome}": times for (kind, outcome), times in sorted(outcomes.items())},
        undocumented=[
            f"{a.outcome} for {a.route or 'no route'}: {a.text}" for a in suspicious if not _told(document, a)
        ],
        uncut=uncut,
        alive=alive,
        memory_mib=memory_bytes / 2**20,
        sales=len(attacked.waits_ms),
        sales_refused=attacked.refused,
        sales_lost=attacked.lost,
        p50_ms=(percentile(quiet.waits_ms, 0.5), percentile(attacked.waits_ms, 0.5)),
        p99_ms=(percentile(quiet.waits_ms, 0.99), percentile(attacked.waits_ms, 0.99)),
    )


def _told(document: Mapping[str, Any], answered: Answered) -> bool:
    """Whether the document says that this route may answer so; a bug of ours is never documented."""
    if '"internal"' in answered.text or "Traceback" in answered.text or not answered.route:
        return False
    method, _, path = answered.route.partition(" ")
    return answered.outcome in document["paths"][path][method.lower()]["responses"]

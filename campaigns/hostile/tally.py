"""What a campaign came to: figures, and the promises that were broken."""

from collections.abc import Mapping
from statistics import median
from typing import Any, NamedTuple

import msgspec

from bench.rounds import percentile
from campaigns.hostile.attack import Answered, Attack
from campaigns.hostile.sellers import Sold

MEMORY_MIB_MAX = 8.0
SLOWER_MAX = 2.0
RATE_KEPT_MIN = 0.8


class Rate(NamedTuple):
    """How many requests a second were to be sent, and were."""

    asked: float
    kept: float


class Round(msgspec.Struct, frozen=True):
    """Sales of one round, undisturbed and under attack."""

    sales: tuple[int, int]
    p50_ms: tuple[float, float]
    p99_ms: tuple[float, float]


class Report(msgspec.Struct, frozen=True):
    """The figures."""

    sent: int
    rate: Rate
    outcomes: dict[str, int]
    undocumented: list[str]
    uncut: list[str]
    alive: bool
    memory_mib: float
    rounds: list[Round]
    sales_refused: list[str]
    sales_lost: int

    @property
    def slower(self) -> float:
        """How many times the p99 of an undisturbed sale it is under attack: in the middle one of the rounds."""
        return median(one.p99_ms[1] / one.p99_ms[0] for one in self.rounds)

    def broken(self, *, gates: bool = True) -> list[str]:
        """What was promised and does not hold; `gates`: also what only a long run on a quiet machine can tell."""
        wrong = [f"not documented: {text}" for text in self.undocumented]
        wrong += [f"not cut off: {text}" for text in self.uncut]
        wrong += [f"a till was refused: {text}" for text in self.sales_refused]
        if not self.alive:
            wrong.append("the daemon died")
        if self.sales_lost:
            wrong.append(f"tills lost their connection {self.sales_lost} times")
        if gates and self.rate.kept < RATE_KEPT_MIN * self.rate.asked:
            wrong.append(f"the attack came at {self.rate.kept:.0f} a second, not {self.rate.asked:.0f}")
        if gates and self.memory_mib > MEMORY_MIB_MAX:
            wrong.append(f"memory grew by {self.memory_mib:.1f} MiB")
        if gates and self.slower > SLOWER_MAX:
            wrong.append(f"p99 of a sale was {self.slower:.2f} times the undisturbed")
        return wrong


def report(
    document: Mapping[str, Any],
    attack: Attack,
    rate: Rate,
    alive: bool,
    memory_bytes: int,
    sold: Sold,
) -> Report:
    """Put it together."""
    return Report(
        sent=attack.outcomes.total(),
        rate=rate,
        outcomes={f"{kind} {outcome}": times for (kind, outcome), times in sorted(attack.outcomes.items())},
        undocumented=[
            f"{a.outcome} for {a.route or 'no route'}: {a.text}"
            for a in attack.suspicious
            if not _told(document, a)
        ],
        uncut=attack.uncut,
        alive=alive,
        memory_mib=memory_bytes / 2**20,
        rounds=[_round(sold, number) for number in range(len(sold.waits_ms) // 2)],
        sales_refused=sold.refused,
        sales_lost=sold.lost,
    )


def quiet_in(number: int) -> str:
    """The name of a round's quiet phase."""
    return f"quiet {number}"


def attacked_in(number: int) -> str:
    """The name of a round's attacked phase."""
    return f"attacked {number}"


def _round(sold: Sold, number: int) -> Round:
    quiet, attacked = sold.waits_ms[quiet_in(number)], sold.waits_ms[attacked_in(number)]
    return Round(
        sales=(len(quiet), len(attacked)),
        p50_ms=(percentile(quiet, 0.5), percentile(attacked, 0.5)),
        p99_ms=(percentile(quiet, 0.99), percentile(attacked, 0.99)),
    )


def _told(document: Mapping[str, Any], answered: Answered) -> bool:
    """Whether the document says that this route may answer so; a bug of ours is never documented."""
    if '"internal"' in answered.text or "Traceback" in answered.text or not answered.route:
        return False
    method, _, path = answered.route.partition(" ")
    return answered.outcome in document["paths"][path][method.lower()]["responses"]

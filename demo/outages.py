"""What the tills were told and allowed around each cut of the line. Pure: moments are seconds since the run began."""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import msgspec

from appliance.domain.sale import Mode

# The box sees a dead line within 13.5 s (domain/link.py), a till hears of it within another second.
NOTICE_S = 14.5
# A mended line: a probe within 6 s, the proof 5 s later (domain/link.py), a till hears of it within another second.
RECOVER_S = 12.5

Phase = Literal["starting", "up", "noticing", "cut", "recovering", "stormy"]
PHASES: tuple[Phase, ...] = get_args(Phase)


class Outage(msgspec.Struct, frozen=True):
    """One cut, from when to when."""

    cut_s: float
    mended_s: float = math.inf


class Proposal(msgspec.Struct, frozen=True):
    """A till heard the box propose a mode."""

    at_s: float
    till: str
    mode: Mode


class Operation(msgspec.Struct, frozen=True):
    """A till was told what became of an online-only operation."""

    at_s: float
    till: str
    passed: bool


class Count(msgspec.Struct, frozen=True):
    """How many operations were let through, and how many refused."""

    passed: int = 0
    refused: int = 0


class Edges(msgspec.Struct, frozen=True):
    """One cut as the tills heard of it: how many of them were proposed local mode in it, and cloud mode after it.

    `due_local`, `due_cloud`: whether there was time enough for all of them to hear it.
    """

    cut_s: float
    mended_s: float
    tills: int
    heard_local: int
    heard_cloud: int
    due_local: bool
    due_cloud: bool

    @property
    def ok(self) -> bool:
        """Whether every till heard what it had time to hear."""
        heard_local = self.heard_local == self.tills or not self.due_local
        return heard_local and (self.heard_cloud == self.tills or not self.due_cloud)


def edges(
    outages: Iterable[Outage],
    proposals: Sequence[Proposal],
    tills: Sequence[str],
    *,
    until_s: float,
    box_starts_s: Sequence[float] = (),
    gusts: Sequence[Outage] = (),
) -> list[Edges]:
    """What the tills heard of each cut; `until_s` is when selling ended, and with it the time they were given.

    A box that is started again begins anew with judging the line: only time that it had in one piece counts. Who has
    met bad weather may have gone local before the cut, and is slow to trust the line after it: nothing is due.
    """
    found = []
    for outage in outages:
        mended_s = min(outage.mended_s, until_s)
        fair = not any(gust.cut_s < until_s for gust in gusts)
        local = _heard(proposals, "local", outage.cut_s, mended_s)
        cloud = _heard(proposals, "cloud", mended_s, math.inf)
        found.append(
            Edges(
                cut_s=round(outage.cut_s, 1),
                mended_s=round(mended_s, 1),
                tills=len(tills),
                heard_local=len(local & set(tills)),
                heard_cloud=len(cloud & set(tills)),
                due_local=fair and _in_one_piece_s(outage.cut_s, mended_s, box_starts_s) >= NOTICE_S,
                due_cloud=fair and _in_one_piece_s(mended_s, until_s, box_starts_s) >= RECOVER_S,
            )
        )
    return found


def by_phase(
    operations: Iterable[Operation],
    outages: Sequence[Outage],
    proposals: Sequence[Proposal],
    tills: Sequence[str],
    *,
    box_starts_s: Iterable[float] = (0.0,),
    gusts: Sequence[Outage] = (),
) -> dict[Phase, Count]:
    """The operations by how the line was when the till was told."""
    settled = {outage: settled_s(outage, proposals, tills) for outage in outages}
    # A box that has just started trusts the line no sooner than one whose line was mended.
    starts = {
        at_s: min(_all_heard_s("cloud", at_s, proposals, tills), at_s + RECOVER_S) for at_s in box_starts_s
    }
    found = {phase: Count() for phase in PHASES}
    for operation in operations:
        phase = _phase(operation.at_s, starts, settled, gusts)
        before = found[phase]
        found[phase] = Count(before.passed + operation.passed, before.refused + (not operation.passed))
    return found


def settled_s(outage: Outage, proposals: Sequence[Proposal], tills: Sequence[str]) -> float:
    """From when on nobody in the shop believes in the line any more: each till has heard it, or should have."""
    return min(_all_heard_s("local", outage.cut_s, proposals, tills), outage.cut_s + NOTICE_S)


def _all_heard_s(mode: Mode, from_s: float, proposals: Iterable[Proposal], tills: Sequence[str]) -> float:
    """When the last of the tills was first proposed that mode, from then on; infinite when one never was."""
    firsts: dict[str, float] = {}
    for proposal in proposals:
        if proposal.mode == mode and proposal.at_s >= from_s:
            firsts.setdefault(proposal.till, proposal.at_s)
    return max((firsts.get(till, math.inf) for till in tills), default=math.inf)


def _phase(
    at_s: float, starts: dict[float, float], settled: dict[Outage, float], gusts: Iterable[Outage]
) -> Phase:
    for outage, from_s in settled.items():
        if outage.cut_s <= at_s < outage.mended_s:
            return "cut" if at_s >= from_s else "noticing"
        if outage.mended_s <= at_s < outage.mended_s + RECOVER_S:
            return "recovering"
    if any(gust.cut_s <= at_s for gust in gusts):  # the more a line breaks, the longer it has to prove itself
        return "stormy"
    starting = any(from_s <= at_s < to_s for from_s, to_s in starts.items())
    return "starting" if starting else "up"


def _in_one_piece_s(from_s: float, to_s: float, box_starts_s: Iterable[float]) -> float:
    within = sorted(at_s for at_s in box_starts_s if from_s < at_s < to_s)
    return max(later - earlier for earlier, later in itertools.pairwise([from_s, *within, to_s]))


def _heard(proposals: Iterable[Proposal], mode: Mode, from_s: float, to_s: float) -> set[str]:
    return {p.till for p in proposals if p.mode == mode and from_s <= p.at_s <= to_s}

"""What a till tells whoever runs it: one JSON object a line, named by `event`, each written as it happens."""

import sys
from collections.abc import Callable
from typing import Literal

import msgspec

from till.copy import State, Way
from till.discovery import Found

# Where a box was looked for, in this order.
Rung = Literal["last", "mdns", "list", "locator", "manual"]


class Line(msgspec.Struct, frozen=True, tag_field="event", omit_defaults=True):
    """The base of all lines; its tag says what happened."""


class Started(Line, frozen=True, tag="started"):
    """The till runs; `waiting` copies of earlier runs are not in the cloud yet."""

    till: str
    two_ways: bool
    waiting: int


class Discovered(Line, frozen=True, tag="discovered"):
    """A box announced itself on the LAN."""

    box: str
    shop: str
    name: str
    api: str
    fp: str
    state: str
    addresses: list[str]
    port: int
    tls: bool = False

    @classmethod
    def of(cls, found: Found) -> "Discovered":
        """The line for this announcement."""
        return cls(**msgspec.structs.asdict(found))


class Connected(Line, frozen=True, tag="connected"):
    """Our box proved itself at this address, and tells us its news."""

    box: str
    url: str


class Disconnected(Line, frozen=True, tag="disconnected"):
    """Our box no longer tells us its news; we look for it."""

    box: str
    reason: str


class Untrusted(Line, frozen=True, tag="untrusted"):
    """Something answers in the name of our box, and cannot prove it."""

    url: str
    reason: str


class Paired(Line, frozen=True, tag="paired"):
    """This till and this box know each other now."""

    till: str
    box: str
    shop: str


class RePaired(Line, frozen=True, tag="re_paired"):
    """Head office put this box in the place of the one that we knew, and it knows us."""

    box: str
    instead_of: str


class Tried(Line, frozen=True, tag="tried"):
    """One place where the box was looked for, and what came of it; told once for each outcome."""

    rung: Rung
    url: str
    outcome: str


class NotFound(Line, frozen=True, tag="not_found"):
    """The box is nowhere: what was tried, and what the staff can do."""

    tried: list[str]
    sentence: str


class Proposal(Line, frozen=True, tag="proposal"):
    """The box proposes a mode."""

    mode: str
    link: str
    cause: str
    changed_at: str


class ModeChanged(Line, frozen=True, tag="mode", rename={"old": "from", "new": "to"}):
    """The till changed its mode, between two tickets."""

    old: str
    new: str
    cause: str
    by: str


class CatalogueApplied(Line, frozen=True, tag="catalogue"):
    """The till's own catalogue is at this version now."""

    version: int


class Sold(Line, frozen=True, tag="sold"):
    """A ticket is done: in the cloud, on the box's disk, or (`pending`) kept here until one of them answers."""

    sale_id: str
    ticket_number: int
    status: State
    way: Way | None
    mode: str
    took_ms: float
    total_minor: int
    currency: str
    epoch: int | None = None
    seq: int | None = None
    code: str | None = None


class Delivered(Line, frozen=True, tag="delivered"):
    """A ticket that was kept here has found its way."""

    sale_id: str
    ticket_number: int
    status: State
    way: Way | None
    epoch: int | None = None
    seq: int | None = None


class Synced(Line, frozen=True, tag="synced"):
    """A ticket that the box had accepted is in the cloud."""

    sale_id: str
    ticket_number: int
    epoch: int | None = None
    seq: int | None = None


class Lost(Line, frozen=True, tag="lost"):
    """The box no longer knows a ticket that it had accepted; it will be brought again."""

    sale_id: str
    ticket_number: int
    epoch: int | None
    seq: int | None


class RolledBack(Line, frozen=True, tag="rolled_back"):
    """The box's journal ends before, or beside, what this till was acked: its card was put back. It knows it now."""

    box: str
    epoch: int
    seq: int


class Conflict(Line, frozen=True, tag="conflict"):
    """The id of a ticket stands for another sale: both are kept, and somebody must look at it."""

    sale_id: str
    ticket_number: int


class RefusedLine(Line, frozen=True, tag="refused"):
    """An operation or a ticket was refused: the code for programs, the sentence for the cashier."""

    code: str
    sentence: str
    operation: str | None = None
    operation_id: str | None = None
    sale_id: str | None = None
    ticket_number: int | None = None
    way: Way | None = None


class Passed(Line, frozen=True, tag="passed"):
    """Head office did an online-only operation."""

    operation: str
    operation_id: str
    way: Way
    took_ms: float


class Unreadable(Line, frozen=True, tag="unreadable"):
    """A line of the script could not be read; it was left out."""

    line: int
    reason: str


class Done(Line, frozen=True, tag="done", omit_defaults=False):
    """The end of a run, in numbers: tickets and operations of this run, then all copies that the till holds."""

    tickets: int
    by_cloud: int
    by_box: int
    kept: int
    sales_refused: int
    operations_passed: int
    operations_refused: int
    lines_unreadable: int
    mode_changes: int
    copies: dict[str, int]
    mode: Literal["cloud", "local"]


Tell = Callable[[Line], None]


def to_stdout(line: Line) -> None:
    """Write and flush: another program follows."""
    sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
    sys.stdout.flush()


class Totals:
    """Count lines on their way to somebody else."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._sold: dict[str | None, int] = {}
        self._seen: dict[str, int] = {}

    def __call__(self, line: Line) -> None:
        """Count it, then pass it on."""
        kind = type(line).__name__
        if isinstance(line, Sold):
            way = line.way if line.status in ("accepted", "synced") else None
            self._sold[way] = self._sold.get(way, 0) + 1
        elif isinstance(line, RefusedLine):
            kind = "SaleRefused" if line.sale_id is not None else "OperationRefused"
        self._seen[kind] = self._seen.get(kind, 0) + 1
        self._tell(line)

    def done(self, copies: dict[State, int], mode: Literal["cloud", "local"]) -> Done:
        """The last line."""
        return Done(
            tickets=sum(self._sold.values()),
            by_cloud=self._sold.get("cloud", 0),
            by_box=self._sold.get("box", 0),
            kept=self._sold.get(None, 0),
            sales_refused=self._seen.get("SaleRefused", 0),
            operations_passed=self._seen.get("Passed", 0),
            operations_refused=self._seen.get("OperationRefused", 0),
            lines_unreadable=self._seen.get("Unreadable", 0),
            mode_changes=self._seen.get("ModeChanged", 0),
            copies={str(state): count for state, count in copies.items()},
            mode=mode,
        )

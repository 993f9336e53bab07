"""What the tills say, one JSON object a line: written down for good, and summed up for the screen and the tally.

The transcript is evidence: a sale that a till once told of as accepted must be in the cloud, whatever became of the
till's own copy.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from appliance.runtime.clock import Clock
from demo.outages import Operation, Proposal
from demo.processes import Said
from demo.tally import Told
from till import report

# What the screen can show of the past.
NEWS_KEPT = 50

Line = (
    report.Started
    | report.Discovered
    | report.Connected
    | report.Disconnected
    | report.Untrusted
    | report.Proposal
    | report.ModeChanged
    | report.CatalogueApplied
    | report.Sold
    | report.Delivered
    | report.Synced
    | report.Lost
    | report.Conflict
    | report.RefusedLine
    | report.Passed
    | report.Unreadable
    | report.Done
)


class News(msgspec.Struct, frozen=True):
    """Something worth a line on the screen; `at_s` counts from the start of the run."""

    at_s: float
    who: str
    text: str
    style: str = ""


class TillView(msgspec.Struct):
    """A till, as far as it has told of itself."""

    till: str
    two_ways: bool = False
    mode: str = "-"
    box: str | None = None
    by_cloud: int = 0
    by_box: int = 0
    kept: set[str] = msgspec.field(default_factory=set)
    passed: int = 0
    refused: int = 0
    last_ticket: int = 0
    last_ms: float = 0.0


class Hearing:
    """Listens to all tills. Moments count from `begin`."""

    def __init__(self, tills: Iterable[str], transcripts: Path, clock: Clock) -> None:
        self._transcripts = transcripts
        self._clock = clock
        self._began_s = clock.monotonic()
        self.tills = {till: TillView(till) for till in tills}
        self.proposals: list[Proposal] = []
        self.operations: list[Operation] = []
        self.accepted_at_s: dict[str, float] = {}
        self.news: deque[News] = deque(maxlen=NEWS_KEPT)

    @property
    def now_s(self) -> float:
        """Seconds since selling began."""
        return self._clock.monotonic() - self._began_s

    def begin(self) -> None:
        """Selling begins now. What was heard before counts as heard at this moment."""
        self._began_s = self._clock.monotonic()
        self.proposals = [Proposal(0.0, proposal.till, proposal.mode) for proposal in self.proposals]

    @property
    def accepted(self) -> int:
        """Sales of this run that cloud or box accepted."""
        return sum(view.by_cloud + view.by_box for view in self.tills.values())

    def note(self, who: str, text: str, style: str = "") -> None:
        """Something happened that no till tells of."""
        self.news.append(News(self.now_s, who, text, style))

    def hear(self, till: str, said: Said) -> None:
        """One line of a till."""
        with transcript(self._transcripts, till).open("ab") as file:
            file.write(msgspec.json.encode(said) + b"\n")
        line = _read(said)
        view = self.tills[till]
        match line:
            case report.Started():
                view.two_ways = line.two_ways
                view.mode = "cloud" if line.two_ways else "local"
            case report.Connected():
                view.box = line.url
                self.note(till, f"found the box at {line.url}")
            case report.Disconnected():
                view.box = None
                self.note(till, f"lost the box: {line.reason}", "yellow")
            case report.Proposal(mode="cloud" | "local" as mode):
                self.proposals.append(Proposal(self.now_s, till, mode))
                self.note(till, f"is proposed {mode} mode: {cause_in_words(line.cause)}", "cyan")
            case report.ModeChanged():
                view.mode = line.new
                self.note(till, f"sells in {line.new} mode now ({line.cause}, by the {line.by})", "bold cyan")
            case report.Sold():
                self._sold(view, line)
            case report.Delivered(status="accepted" | "synced"):
                self._count_accepted(view, line)
            case report.RefusedLine():
                view.refused += 1
                view.kept.discard(line.sale_id or "")
                if line.operation is not None:
                    self.operations.append(Operation(self.now_s, till, passed=False))
                self._note_latest(till, f"{line.operation or 'sale'} refused: {line.sentence}")
            case report.Passed():
                view.passed += 1
                self.operations.append(Operation(self.now_s, till, passed=True))
            case report.Lost() | report.Conflict() | report.Unreadable() | report.Untrusted():
                self.note(till, msgspec.json.encode(line).decode(), "bold red")
            case _:
                pass

    def _sold(self, view: TillView, line: report.Sold) -> None:
        view.last_ticket, view.last_ms = line.ticket_number, line.took_ms
        if line.status in ("accepted", "synced"):
            self._count_accepted(view, line)
        else:
            view.kept.add(line.sale_id)
            self._note_latest(view.till, f"keeps ticket {line.ticket_number}: {line.code}")

    def _note_latest(self, till: str, text: str) -> None:
        """Of what happens again and again only the latest is news, or nobody would see the rest."""
        self.news = deque(
            (news for news in self.news if (news.who, news.style) != (till, "yellow")), maxlen=NEWS_KEPT
        )
        self.note(till, text, "yellow")

    def _count_accepted(self, view: TillView, line: report.Sold | report.Delivered) -> None:
        self.accepted_at_s[line.sale_id] = self.now_s
        view.kept.discard(line.sale_id)
        view.by_cloud += line.way == "cloud"
        view.by_box += line.way == "box"


def transcript(directory: Path, till: str) -> Path:
    """The file with everything a till ever said at this desk."""
    return directory / f"till-{till}.jsonl"


def read_told(directory: Path, tills: Iterable[str]) -> Told:
    """What all transcripts say of sales. Blocks."""
    accepted, late = set(), set()
    for till in tills:
        for line in _lines(transcript(directory, till)):
            if isinstance(line, report.Sold | report.Delivered) and line.status in ("accepted", "synced"):
                accepted.add(line.sale_id)
            if isinstance(line, report.Delivered | report.Lost):
                late.add(line.sale_id)
            if isinstance(line, report.Sold) and line.status == "pending":
                late.add(line.sale_id)
    return Told(frozenset(accepted), frozenset(late))


def _lines(path: Path) -> Iterator[Line | None]:
    if not path.exists():
        return
    with path.open("rb") as file:
        for text in file:
            try:
                yield _read(msgspec.json.decode(text))
            except msgspec.DecodeError:
                continue  # the last line of a run that was killed


def _read(said: Said) -> Line | None:
    try:
        return msgspec.convert(said, Line)  # type: ignore[no-any-return]
    except msgspec.ValidationError:
        return None  # a later till may tell more


_CAUSES = {
    "ok": "the line is fine",
    "starting": "the box has just started",
    "proving": "the line is back and proves itself",
    "slow": "the line is slow",
    "lossy": "the line loses too much",
    "no-link": "the box's own cable is out",
    "no-gateway": "the router does not answer",
    "no-dns": "names cannot be looked up",
    "no-answer": "head office gives no answer",
    "captive-portal": "somebody else answers in head office's name",
    "tls": "the secure connection fails",
    "clock": "the box's clock is wrong",
    "cloud-down": "the line is up, head office is down",
    "refused": "head office refuses this box",
}


def cause_in_words(cause: str) -> str:
    """A sentence for a cause."""
    return _CAUSES.get(cause, cause)

"""The judge: knows what tills were told and what head office holds, and names each promise that is broken.

It looks at the journal through a connection of its own and at head office directly; nothing that the box says of
itself is believed. Numbers in front of a message are those of the promises in docs/ARCHITECTURE.md.
"""

import hashlib
import random
import sqlite3
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from appliance.domain.event import content, digest
from appliance.domain.link import Link, LinkState
from appliance.domain.sale import Sale
from appliance.domain.statements import Keys
from appliance.domain.wire import Ack
from appliance.runtime.clock import AGREEMENT_S
from appliance.runtime.database import open_reader
from appliance.services.verification import verify_journal
from appliance.storage import journal_tables as tables
from campaigns.simulation.box import KEEP_DAYS, Box
from campaigns.simulation.clock import DAY_S
from campaigns.simulation.headoffice import ARTICLES, HeadOffice

# Allowed moves of (link state, proposed mode); the picture in appliance/domain/link.py.
_LOCAL, _PROVING = (LinkState.OFFLINE, "local"), (LinkState.DEGRADED, "local")
_ONLINE, _DEGRADED = (LinkState.ONLINE, "cloud"), (LinkState.DEGRADED, "cloud")
EDGES = {
    (_LOCAL, _PROVING),
    (_PROVING, _ONLINE),
    (_PROVING, _LOCAL),
    (_ONLINE, _LOCAL),
    (_ONLINE, _DEGRADED),
    (_DEGRADED, _ONLINE),
    (_DEGRADED, _LOCAL),
}
# A dead line is noticed within 13.5 s of idling; a batch that hangs may hold up the news by its own time-out.
ONLINE_WITHOUT_ANSWER_S = 30.0
# With the line whole, what waited when it came back is in head office after this long: the longest proof (120 s), the
# longest pause of the drain (60 s) and of a refused one (60 s), and the batches themselves.
DRAIN_S = 300.0

_ack = msgspec.json.Decoder(Ack)


class Broken(Exception):
    """A promise does not hold."""


class Trace:
    """Everything that happens, as one hash: the same seed gives the same one."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self.now_s = now_s
        self._hash = hashlib.sha256()
        self.last: deque[str] = deque(maxlen=40)

    def note(self, *what: object) -> None:
        """One thing that happened now."""
        line = f"{self.now_s():.6f} {' '.join(map(str, what))}"
        self._hash.update(line.encode() + b"\n")
        self.last.append(line)

    @property
    def hash(self) -> str:
        """Of all so far."""
        return self._hash.hexdigest()


class Oracle:
    """Collects what was promised; `broken` holds the first promise that did not hold."""

    def __init__(self, office: HeadOffice, keys: Keys, trace: Trace) -> None:
        self.office = office
        self.trace = trace
        self.broken: list[str] = []
        self.acks: dict[str, bytes] = {}  # sale id -> first ack
        self.answered: set[str] = set()  # sale ids that head office acknowledged to a till
        self.odd: list[tuple[int, int]] = []  # (epoch, seq) of events on disk that head office cannot read
        self.checks = 0
        self.counts: Counter[str] = Counter()
        self.was_rolled_back = False
        self._keys = keys
        self._now_s = trace.now_s
        self._reader: sqlite3.Connection | None = None
        self._seen = (LinkState.OFFLINE, "local")

    def fail(self, promise: str, detail: str) -> None:
        """A promise is broken."""
        self.trace.note("BROKEN", promise, detail)
        self.broken.append(f"promise {promise}: {detail}")

    def expect(self, holds: bool, promise: str, detail: str) -> None:
        """One check."""
        self.checks += 1
        if not holds:
            self.fail(promise, detail)

    # --- the box comes and goes

    def opened(self, box: Box) -> None:
        """A box is up: everything it ever acknowledged must be there."""
        self._reader = open_reader(box.journal_file)
        self._seen = (LinkState.OFFLINE, "local")
        box.wan.listen(lambda link: self._moved(box, link))
        self.look_for_all("after a start")

    def closed(self) -> None:
        """The box is down."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def rolled_back(self, journal: Path) -> None:
        """Somebody put an older card in: tills bring what is not on it again, and it is acknowledged anew."""
        self.was_rolled_back = True
        reader = open_reader(journal)
        for sale_id, ack_bytes in list(self.acks.items()):
            ack = _ack.decode(ack_bytes)
            if tables.body_at(reader, tables.place_of(ack.epoch, ack.seq)) is None:
                del self.acks[sale_id]
                self.answered.add(sale_id)  # it must be in the cloud in the end all the same
        reader.close()

    # --- what tills are told

    def acked(self, sale_id: str, ack: bytes) -> None:
        """A till holds an ack: on disk by now, and the same bytes as ever."""
        first = self.acks.setdefault(sale_id, ack)
        if self.was_rolled_back:  # a sale that was carried into the new epoch has its place there
            first = self.acks[sale_id] = ack
        self.expect(first == ack, "3", f"{sale_id}: another ack than the first one")
        self._look_for(sale_id, ack, "at its ack")

    def judged(self, sale: Sale, flags: list[str]) -> None:
        """A sale was accepted: what does not add up in it is flagged, and nothing else of that kind."""
        gross_minor = sum(line.gross_minor for line in sale.lines if not line.voided)
        paid_minor = sum(tender.amount_minor for tender in sale.tenders)
        for flag, said_minor in (("total-lines", gross_minor), ("total-tenders", paid_minor)):
            wrong = said_minor != sale.total_minor
            self.expect(
                (flag in flags) == wrong, "7", f"{sale.sale_id}: {flag} is {wrong}, flags are {flags}"
            )

    def told_synced(self, sale_id: str) -> None:
        """A till was told that a sale is in the cloud."""
        self.expect(
            sale_id in self.office.sales, "5", f"{sale_id} is called synced; head office never saw it"
        )

    def passed(self, what: str, online: bool, answered_ago_s: float) -> None:
        """An online-only thing was let through."""
        self.expect(online, "8", f"{what} passed while the box was not online")
        near = answered_ago_s <= ONLINE_WITHOUT_ANSWER_S
        self.expect(near, "8", f"{what} passed {answered_ago_s:.0f} s after the cloud's last answer")

    def conflicted(self, sale: Sale, outcome: str) -> None:
        """The same id was sent with other content."""
        self.expect(outcome == "conflict", "3", f"{sale.sale_id} with other content: {outcome}")

    # --- what is looked at

    def look_for_all(self, when: str) -> None:
        """Each acknowledged sale is in the journal, and receipts are no further than head office."""
        for sale_id, ack in self.acks.items():
            self._look_for(sale_id, ack, when)
        self.look_at_receipts()

    def look_at_receipts(self) -> None:
        """The box may believe delivered only what head office holds."""
        if self._reader is None:
            return
        for epoch, seq in tables.receipts(self._reader).items():
            held = self.office.end_of(epoch).seq
            self.expect(seq <= held, "5", f"epoch {epoch}: receipt up to {seq}, head office holds {held}")

    def look_at_catalogue(self, box: Box, rng: random.Random) -> None:
        """Whatever version an answer names: the article is as it was in that version."""
        name = f"a-{rng.randrange(ARTICLES)}"
        found = box.mirror.by_id(name)
        known = self.office.catalogues[found.version - 1] if 0 < found.version <= self.office.version else {}
        expected = [known[name]] if name in known else []
        self.expect(found.articles == expected, "9", f"{name} is not as in version {found.version}")

    def look_at_backlog(self, events: int, calm_s: float) -> None:
        """What waited when the line came back is gone by now."""
        self.expect(events == 0, "2", f"{events} events still wait {calm_s:.0f} s after all was mended")

    def look_at_age(self, body: bytes, box: Box) -> None:
        """The oldest event that waits, with the line whole for long: it must be a young one."""
        clock = content(body).clock
        same_boot = clock.boot == box.clock.reading().boot
        age_s = (box.clock.reading().mono_ns - clock.mono_ns) / 1e9 if same_boot else float("inf")
        self.expect(age_s < DRAIN_S, "2", f"an event waits for {age_s:.0f} s on a whole line")

    def look_at_all_books(self, journal: Path) -> None:
        """At the end, with all mended: head office holds what the journal holds, byte by byte, each sale once."""
        finding = verify_journal(journal, self.office.box, self._keys, lambda _: None)
        self.expect(finding.fault is None, "4", f"the journal does not verify: {finding.fault}")
        if not self.was_rolled_back:  # else the cloud holds another continuation of the old epoch
            self._compare(journal)
            self._look_for_odd()
        for sale_id, count in sorted(self.office.stored.items()):
            self.expect(count == 1, "2", f"{sale_id} is in head office's books {count} times")
        for sale_id in (*self.acks, *sorted(self.answered)):
            self.expect(
                sale_id in self.office.sales, "2", f"{sale_id} was acknowledged and is not in the cloud"
            )

    def _compare(self, journal: Path) -> None:
        reader = open_reader(journal)
        mine: dict[int, list[bytes]] = {}
        for row in tables.events(reader, 0):
            mine.setdefault(row.epoch, []).append(row.body)
        reader.close()
        theirs = {epoch: [sealed.body for sealed in chain] for epoch, chain in self.office.chains.items()}
        # Its last word is that it was stopped; nothing follows that could take it to head office.
        last = mine[max(mine)].pop()
        self.expect(content(last).kind == "stopped", "4", "a box that was stopped does not say so")
        for epoch in sorted(mine.keys() | theirs.keys()):
            ours, held = mine.get(epoch, []), theirs.get(epoch, [])
            # Where events were pruned, what is left is the end of it.
            gone = max(0, len(held) - len(ours))
            detail = f"epoch {epoch}: {len(ours)} events here, {len(held)} there, or other bytes"
            self.expect(ours == held[gone:], "2", detail)
            self.counts["pruned events"] += gone
            free = all(self._was_free_to_go(epoch, seq) for seq in range(1, gone + 1))
            self.expect(free, "5", f"epoch {epoch}: of {gone} pruned events some were needed")

    def _look_for_odd(self) -> None:
        """What head office cannot read it holds all the same, and says so."""
        noted = {(note.epoch, note.seq) for note in self.office.notes}
        for epoch, seq in self.odd:
            held = seq <= self.office.end_of(epoch).seq
            self.expect(held, "6", f"head office does not hold {epoch}/{seq}, which it cannot read")
            self.expect(
                (epoch, seq) in noted, "6", f"head office does not say that it cannot read {epoch}/{seq}"
            )

    def _look_for(self, sale_id: str, ack_bytes: bytes, when: str) -> None:
        if self._reader is None:
            return
        ack = _ack.decode(ack_bytes)
        body = tables.body_at(self._reader, tables.place_of(ack.epoch, ack.seq))
        if body is None and self._was_free_to_go(ack.epoch, ack.seq):
            self.checks += 1
            return
        there = body is not None and digest(body).hex() == ack.hash and sale_id.encode() in body
        self.expect(there, "1", f"{sale_id}, acked at {ack.epoch}/{ack.seq}, is not on disk {when}")

    def _was_free_to_go(self, epoch: int, seq: int) -> bool:
        """Whether head office has held an event for as long as shops need it."""
        held_s = self.office.held_s.get((epoch, seq))
        return held_s is not None and self._now_s() - held_s >= KEEP_DAYS * DAY_S - 2 * AGREEMENT_S

    def _moved(self, box: Box, link: Link) -> None:
        if not box.card.powered:
            return
        seen = (link.state, link.mode)
        self.trace.note("link", link.state.value, link.mode, link.cause.value)
        if seen != self._seen:
            self.expect((self._seen, seen) in EDGES, "10", f"the link moved from {self._seen} to {seen}")
        self._seen = seen

"""The final tally: what the tills hold accepted against what head office holds. Pure.

Judges without asking box or cloud for their opinion: it walks every chain itself, and compares digests of contents.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from appliance.domain import event
from appliance.domain.errors import StoreboxError
from appliance.domain.event import GENESIS, Position
from appliance.domain.sale import parse_sale
from appliance.domain.wire import CloudSaleRow
from demo.outages import Count, Edges, Phase
from till.copy import State

# Enough to see what is wrong; a broken chain would give thousands.
FINDINGS_MAX = 20


class Place(msgspec.Struct, frozen=True):
    """Where an event stands."""

    box: str
    epoch: int
    seq: int


class Ticket(msgspec.Struct, frozen=True):
    """A sale as its till holds it. `sha256` (hex) is of its bytes; `place` is what the box's ack named.

    `hides_operation`: an online-only operation is part of it.
    """

    till_id: str
    sale_id: str
    number: int
    sha256: str
    state: State
    place: Place | None = None
    hides_operation: bool = False

    @property
    def accepted(self) -> bool:
        """Whether box or cloud promised to keep it."""
        return self.state in ("accepted", "synced")


class Chain(msgspec.Struct, frozen=True):
    """One epoch of a box as head office holds it: where it ends (`head` in hex), and the verbatim events."""

    box: str
    epoch: int
    seq: int
    head: str
    bodies: list[bytes]


class Books(msgspec.Struct, frozen=True):
    """What head office holds."""

    sales: list[CloudSaleRow]
    chains: list[Chain]


class Told(msgspec.Struct, frozen=True):
    """What the tills said, this run and earlier: the sales that were accepted, and those that had to wait for it.

    A till forgets old copies that are in the cloud, and its copies could be lost: what was said stands.
    """

    accepted: frozenset[str] = frozenset()
    late: frozenset[str] = frozenset()


class Tally(msgspec.Struct, frozen=True):
    """The comparison in numbers. `findings` names the first faults; `operations` and `edges` are of this run alone."""

    accepted: int
    by_cloud: int
    by_box: int
    waiting: int
    in_cloud: int
    events: int
    lost: int
    doubled: int
    altered: int
    out_of_order: int
    unexpected: int
    operations: dict[Phase, Count]
    edges: list[Edges]
    findings: list[str]

    @property
    def ok(self) -> bool:
        """Whether each accepted sale is in the cloud exactly once, and the shop was told and allowed what it should."""
        held = not (self.lost or self.doubled or self.altered or self.out_of_order or self.unexpected)
        return held and not self.waiting and self.operations_ok and all(edge.ok for edge in self.edges)

    @property
    def operations_ok(self) -> bool:
        """Whether none passed in the settled part of a cut, and a good line let some pass when they were asked for."""
        up = self.operations["up"]
        others: tuple[Phase, ...] = ("starting", "recovering", "stormy")
        outside = up.passed + sum(self.operations[phase].passed for phase in others)
        return self.operations["cut"].passed == 0 and (outside > 0 or up.refused == 0)


class _Found(msgspec.Struct, frozen=True):
    """A sale met on a chain."""

    place: Place
    sale_id: str
    sha256: str
    till_id: str
    number: int


class _Faults:
    """Counts faults by kind, and words the first of them."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.findings: list[str] = []

    def note(self, kind: str, what: str) -> None:
        self.counts[kind] += 1
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(f"{kind.replace('_', ' ')}: {what}")


def judge(
    tickets: Sequence[Ticket],
    told: Told,
    books: Books,
    operations: Mapping[Phase, Count],
    edges: Sequence[Edges],
) -> Tally:
    """Compare. Everything that the desk ever sold counts, this run's and all earlier ones'."""
    faults = _Faults()
    found = [sale for chain in books.chains for sale in _walk(chain, faults)]
    _check_tickets(tickets, told, books, found, faults)
    _check_books(tickets, told, books, found, faults)
    _check_order(tickets, told, books, found, faults)
    waiting = [ticket for ticket in tickets if ticket.state in ("pending", "refused")]
    for ticket in waiting:
        faults.note("waiting", f"{_name(ticket)} is {ticket.state}")
    return Tally(
        accepted=len({ticket.sale_id for ticket in tickets if ticket.accepted} | told.accepted),
        by_cloud=sum(row.via == "till" for row in books.sales),
        by_box=sum(row.via == "box" for row in books.sales),
        waiting=len(waiting),
        in_cloud=len(books.sales),
        events=sum(len(chain.bodies) for chain in books.chains),
        lost=faults.counts["lost"],
        doubled=faults.counts["doubled"],
        altered=faults.counts["altered"],
        out_of_order=faults.counts["out_of_order"],
        unexpected=faults.counts["unexpected"],
        operations=dict(operations),
        edges=list(edges),
        findings=faults.findings,
    )


def as_json(tally: Tally) -> str:
    """The tally for programs: its fields, and `ok`."""
    return msgspec.json.encode({"ok": tally.ok, **msgspec.structs.asdict(tally)}).decode()


def _walk(chain: Chain, faults: _Faults) -> list[_Found]:
    """The sales on a chain, in its order; a chain with a gap, a foreign link or another end is out of order."""
    found, end = [], Position(chain.epoch, 0, GENESIS)
    try:
        for sealed in event.walk(end, chain.bodies, box=chain.box):
            end = Position(chain.epoch, sealed.link.seq, sealed.hash)
            if sealed.link.kind == "sale":
                found.append(_sale_on(sealed.body, Place(chain.box, chain.epoch, sealed.link.seq)))
    except (StoreboxError, msgspec.DecodeError) as error:
        faults.note("out_of_order", f"epoch {chain.epoch} of {chain.box} breaks after seq {end.seq}: {error}")
        return found
    if (end.seq, end.head.hex()) != (chain.seq, chain.head):
        faults.note(
            "out_of_order", f"epoch {chain.epoch} of {chain.box} ends at {end.seq}, not at {chain.seq}"
        )
    return found


class _SaleData(msgspec.Struct, frozen=True):
    sale: msgspec.Raw


def _sale_on(body: bytes, place: Place) -> _Found:
    raw = bytes(msgspec.json.decode(event.content(body).data, type=_SaleData).sale)
    sale = parse_sale(raw)
    return _Found(place, sale.sale_id, _sha256(sale.encode()), sale.till_id, sale.ticket_number)


def _check_tickets(
    tickets: Iterable[Ticket], told: Told, books: Books, found: Iterable[_Found], faults: _Faults
) -> None:
    """Every accepted sale is in the books, with its content, and on the chain where the box said it is."""
    rows = {row.sale_id: row for row in books.sales}
    places = {sale.place: sale for sale in found}
    accepted = [ticket for ticket in tickets if ticket.accepted]
    for ticket in accepted:
        row = rows.get(ticket.sale_id)
        if row is None:
            faults.note("lost", _name(ticket))
        elif row.sha256 != ticket.sha256:
            faults.note("altered", f"{_name(ticket)} in the books")
        if ticket.place is None:
            continue
        there = places.get(ticket.place)
        if there is None or there.sale_id != ticket.sale_id:
            faults.note("out_of_order", f"{_name(ticket)} is not at {ticket.place.epoch}/{ticket.place.seq}")
    for sale_id in sorted(told.accepted - rows.keys() - {ticket.sale_id for ticket in accepted}):
        faults.note("lost", f"{sale_id}, which a till told of")


def _check_books(
    tickets: Iterable[Ticket], told: Told, books: Books, found: Sequence[_Found], faults: _Faults
) -> None:
    """Head office holds nothing twice, nothing changed, and nothing that nobody sold."""
    sold = {ticket.sale_id: ticket for ticket in tickets if ticket.state != "withdrawn"}
    for sale_id, times in Counter(row.sale_id for row in books.sales).items():
        if times > 1:
            faults.note("doubled", f"{sale_id} stands {times} times in the books")
        if sale_id not in sold and sale_id not in told.accepted:
            faults.note("unexpected", f"{sale_id} is in the books, and no till sold it")
    numbers = Counter(
        (row.till_id, row.ticket_number) for row in {r.sale_id: r for r in books.sales}.values()
    )
    for (till_id, number), times in numbers.items():
        if times > 1:
            faults.note("doubled", f"{times} sales are ticket {number} of {till_id}")
    rows = {row.sale_id for row in books.sales}
    on_chain = Counter((sale.place.box, sale.place.epoch, sale.sale_id) for sale in found)
    for (box, epoch, sale_id), times in on_chain.items():
        if times > 1:
            faults.note("doubled", f"{sale_id} stands {times} times in epoch {epoch} of {box}")
    for sale in found:
        if sale.sale_id not in rows:
            faults.note("lost", f"{sale.sale_id} is on the chain, but not in the books")
        if sale.sale_id in sold and sold[sale.sale_id].sha256 != sale.sha256:
            faults.note("altered", f"{_name(sold[sale.sale_id])} on the chain")


def _check_order(
    tickets: Iterable[Ticket], told: Told, books: Books, found: Iterable[_Found], faults: _Faults
) -> None:
    """Each till's tickets run up without a step back on each way, and without a gap over both.

    Sales that no way took at first came later than their neighbours, and rightly so.
    """
    ways: dict[tuple[str, str], list[tuple[str, int]]] = defaultdict(list)
    for sale in found:  # epochs and places in their order
        ways[sale.till_id, f"the chain of {sale.place.box}"].append((sale.sale_id, sale.number))
    for row in sorted(
        books.sales, key=lambda row: row.sale_id
    ):  # ids of a till sort by the time it made them
        if row.via == "till":
            ways[row.till_id, "the straight way"].append((row.sale_id, row.ticket_number))
    for (till_id, way), sales in ways.items():
        last = 0
        for number in (number for sale_id, number in sales if sale_id not in told.late):
            if number < last:
                faults.note("out_of_order", f"ticket {number} of {till_id} comes after {last} on {way}")
            last = max(last, number)
    numbers: dict[str, set[int]] = defaultdict(set)
    for row in books.sales:
        numbers[row.till_id].add(row.ticket_number)
    for ticket in tickets:
        if (
            not ticket.accepted
        ):  # waiting, and told as such; or withdrawn, which voids a number once others follow
            numbers[ticket.till_id].add(ticket.number)
    for till_id, there in numbers.items():
        for number in sorted(set(range(1, max(there) + 1)) - there):
            faults.note("out_of_order", f"ticket {number} of {till_id} is missing between its neighbours")


def _name(ticket: Ticket) -> str:
    return f"ticket {ticket.number} of {ticket.till_id} ({ticket.sale_id})"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

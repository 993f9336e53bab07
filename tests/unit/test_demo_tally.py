"""The tally: each way in which head office could hold something else than the tills were promised is found."""

import hashlib
from collections.abc import Callable

import msgspec
import pytest

from appliance.domain import event
from appliance.domain.event import GENESIS, ClockReading, Position
from appliance.domain.sale import Sale
from appliance.domain.wire import CloudSaleRow
from demo.outages import PHASES, Count, Edges, Phase
from demo.tally import Books, Chain, Place, Tally, Ticket, Told, as_json, judge
from tests.fakes.sales import a_sale, a_sale_id

BOX = "sb-aaaaaaaaaaaaaaaa"
CLOCK = ClockReading("synced", "boot-1", 1)
NO_OPERATIONS: dict[Phase, Count] = {phase: Count() for phase in PHASES}


class Shop:
    """Tickets of tills, and the books of a head office that holds all of them."""

    def __init__(self) -> None:
        self.tickets: list[Ticket] = []
        self.rows: list[CloudSaleRow] = []
        self.bodies: list[bytes] = []
        self.end = Position(1, 0, GENESIS)
        self.told = Told()

    def sell(self, till: str, number: int, *, by: str, sale_id: str | None = None) -> Sale:
        sale = a_sale(till_id=till, ticket_number=number, sale_id=sale_id or a_sale_id())
        place = self.append(sale) if by == "box" else None
        self.tickets.append(Ticket(till, sale.sale_id, number, sha256(sale), "synced", place))
        self.rows.append(row_of(sale, "box" if by == "box" else "till"))
        return sale

    def append(self, sale: Sale) -> Place:
        data = {"flags": [], "sale": msgspec.Raw(sale.encode())}
        sealed = event.seal(
            self.end, box=BOX, kind="sale", till=sale.till_id, at=sale.ended_at, clock=CLOCK, data=data
        )
        self.bodies.append(sealed.body)
        self.end = Position(1, sealed.link.seq, sealed.hash)
        return Place(BOX, 1, sealed.link.seq)

    def books(self) -> Books:
        chain = Chain(BOX, 1, self.end.seq, self.end.head.hex(), self.bodies)
        return Books(self.rows, [chain] if self.bodies else [])

    def tally(self) -> Tally:
        return judge(self.tickets, self.told, self.books(), NO_OPERATIONS, [])


def sha256(sale: Sale) -> str:
    return hashlib.sha256(sale.encode()).hexdigest()


def row_of(sale: Sale, via: str) -> CloudSaleRow:
    return CloudSaleRow(
        sale_id=sale.sale_id,
        sha256=sha256(sale),
        till_id=sale.till_id,
        business_date=sale.business_date,
        ticket_number=sale.ticket_number,
        total_minor=sale.total_minor,
        currency=sale.currency,
        via=via,  # type: ignore[arg-type]
        copies=1,
    )


@pytest.fixture
def shop() -> Shop:
    made = Shop()
    for number, by in enumerate(("cloud", "box", "box", "cloud", "box"), start=1):
        made.sell("T1", number, by=by)
        made.sell("T2", number, by="box")
    return made


def test_a_shop_whose_books_agree_is_in_order(shop: Shop) -> None:
    tally = shop.tally()

    assert tally.ok
    assert tally.findings == []
    assert (tally.accepted, tally.in_cloud, tally.by_cloud, tally.by_box, tally.events) == (10, 10, 2, 8, 8)


def test_a_desk_that_sold_nothing_is_in_order() -> None:
    assert Shop().tally().ok


def lose_from_the_books(shop: Shop) -> None:
    del shop.rows[0]


def lose_behind_the_copies(shop: Shop) -> None:
    shop.told = Told(accepted=frozenset({a_sale_id()}))


def lose_from_the_projection(shop: Shop) -> None:
    shop.append(a_sale())


def double_in_the_books(shop: Shop) -> None:
    shop.rows.append(shop.rows[3])


def double_on_the_chain(shop: Shop) -> None:
    shop.append(shop.sell("T1", 6, by="box"))


def double_under_one_number(shop: Shop) -> None:
    shop.sell("T1", 5, by="cloud")


def alter_in_the_books(shop: Shop) -> None:
    shop.rows[0] = msgspec.structs.replace(shop.rows[0], sha256="00" * 32)


def alter_on_the_chain(shop: Shop) -> None:
    sale = shop.sell("T1", 6, by="cloud")
    shop.append(msgspec.structs.replace(sale, operator_id="somebody"))


def drop_an_event(shop: Shop) -> None:
    del shop.bodies[2]


def change_a_byte(shop: Shop) -> None:
    shop.bodies[2] = shop.bodies[2].replace(b"op-7", b"op-8")


def swap_two_events(shop: Shop) -> None:
    shop.bodies[2], shop.bodies[3] = shop.bodies[3], shop.bodies[2]


def cut_the_tail(shop: Shop) -> None:
    del shop.bodies[-1]


def claim_another_head(shop: Shop) -> None:
    shop.end = Position(1, shop.end.seq, bytes(32))


def stand_elsewhere(shop: Shop) -> None:
    shop.tickets[1] = msgspec.structs.replace(shop.tickets[1], place=Place(BOX, 1, 2))


def come_late_on_the_chain(shop: Shop) -> None:
    shop.sell("T2", 7, by="box")
    shop.sell("T2", 6, by="box")


def come_late_on_the_straight_way(shop: Shop) -> None:
    first_id, second_id = a_sale_id(), a_sale_id()
    shop.sell("T1", 6, by="cloud", sale_id=second_id)
    shop.sell("T1", 7, by="cloud", sale_id=first_id)


def leave_out_a_number(shop: Shop) -> None:
    shop.sell("T2", 7, by="box")


def bring_what_nobody_sold(shop: Shop) -> None:
    shop.rows.append(row_of(a_sale(till_id="T1", ticket_number=6), "till"))


def bring_what_was_withdrawn(shop: Shop) -> None:
    sale = shop.sell("T1", 6, by="cloud")
    shop.tickets[-1] = Ticket("T1", sale.sale_id, 6, sha256(sale), "withdrawn")


def keep_one_waiting(shop: Shop) -> None:
    shop.tickets.append(Ticket("T1", a_sale_id(), 6, "00" * 32, "pending"))


def refuse_one(shop: Shop) -> None:
    shop.tickets.append(Ticket("T1", a_sale_id(), 6, "00" * 32, "refused"))


@pytest.mark.parametrize(
    ("harm", "kind"),
    [
        (lose_from_the_books, "lost"),
        (lose_behind_the_copies, "lost"),
        (lose_from_the_projection, "lost"),
        (double_in_the_books, "doubled"),
        (double_on_the_chain, "doubled"),
        (double_under_one_number, "doubled"),
        (alter_in_the_books, "altered"),
        (alter_on_the_chain, "altered"),
        (drop_an_event, "out_of_order"),
        (change_a_byte, "out_of_order"),
        (swap_two_events, "out_of_order"),
        (cut_the_tail, "out_of_order"),
        (claim_another_head, "out_of_order"),
        (stand_elsewhere, "out_of_order"),
        (come_late_on_the_chain, "out_of_order"),
        (come_late_on_the_straight_way, "out_of_order"),
        (leave_out_a_number, "out_of_order"),
        (bring_what_nobody_sold, "unexpected"),
        (bring_what_was_withdrawn, "unexpected"),
        (keep_one_waiting, "waiting"),
        (refuse_one, "waiting"),
    ],
)
def test_every_kind_of_harm_is_found_and_named(shop: Shop, harm: Callable[[Shop], None], kind: str) -> None:
    harm(shop)

    tally = shop.tally()

    assert not tally.ok
    assert getattr(tally, kind) > 0
    assert any(finding.startswith(kind.replace("_", " ")) for finding in tally.findings)


def test_a_sale_that_came_both_ways_is_one_sale(shop: Shop) -> None:
    sale = shop.sell("T1", 6, by="cloud")
    shop.append(sale)

    assert shop.tally().ok


def test_a_sale_that_had_to_wait_may_come_behind_the_next(shop: Shop) -> None:
    shop.sell("T2", 7, by="box")
    late = shop.sell("T2", 6, by="box")
    shop.told = Told(late=frozenset({late.sale_id}))

    assert shop.tally().ok


def test_a_withdrawn_ticket_explains_its_number(shop: Shop) -> None:
    shop.tickets.append(Ticket("T2", a_sale_id(), 6, "00" * 32, "withdrawn"))
    shop.sell("T2", 7, by="box")

    assert shop.tally().ok


def test_a_sale_that_its_till_forgot_counts_by_what_it_told(shop: Shop) -> None:
    forgotten = shop.tickets.pop(0)
    shop.told = Told(accepted=frozenset({forgotten.sale_id}))

    tally = shop.tally()

    assert tally.ok
    assert tally.accepted == 10


def test_only_the_first_findings_are_worded(shop: Shop) -> None:
    shop.rows.clear()
    for number in range(6, 40):
        shop.sell("T1", number, by="box")
        shop.rows.clear()

    tally = shop.tally()

    assert tally.lost > len(tally.findings)


def with_operations(shop: Shop, **counts: Count) -> Tally:
    return judge(shop.tickets, shop.told, shop.books(), {**NO_OPERATIONS, **counts}, [])  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("counts", "ok"),
    [
        ({"up": Count(3, 0), "cut": Count(0, 4)}, True),
        ({"up": Count(3, 0), "cut": Count(1, 4)}, False),
        ({"up": Count(0, 3), "cut": Count(0, 4)}, False),
        ({"up": Count(0, 3), "recovering": Count(1, 0)}, True),
        ({"noticing": Count(1, 4), "up": Count(1, 0)}, True),
        ({"cut": Count(0, 4)}, True),
    ],
)
def test_operations_must_pass_outside_a_cut_and_never_in_its_settled_part(
    shop: Shop, counts: dict[str, Count], ok: bool
) -> None:
    assert with_operations(shop, **counts).ok is ok


def test_tills_that_were_not_told_of_a_cut_are_a_fault(shop: Shop) -> None:
    deaf = Edges(15.0, 35.0, tills=2, heard_local=1, heard_cloud=2, due_local=True, due_cloud=True)

    assert not judge(shop.tickets, shop.told, shop.books(), NO_OPERATIONS, [deaf]).ok


def test_programs_get_the_verdict_with_the_numbers(shop: Shop) -> None:
    told = msgspec.json.decode(as_json(shop.tally()))

    assert told["ok"] is True
    assert told["lost"] == told["doubled"] == told["out_of_order"] == 0
    assert told["operations"]["cut"] == {"passed": 0, "refused": 0}

"""What events mean to the books, and that nothing inside an event can stop it."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.canonical import canonical
from appliance.domain.event import GENESIS, Position
from cloud.projection import project, read_event, sale_digest
from tests.fakes.boxes import LooseBox
from tests.fakes.sales import a_line, a_sale

BOX = LooseBox(1)
AT = "2026-11-22T08:30:00.000Z"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values, st.sampled_from(["sale", "noted"]))
def test_no_content_of_an_event_ever_raises(data: object, kind: str) -> None:
    sealed = BOX.seal(Position(1, 0, GENESIS), kind, data)

    reading = read_event(sealed.body)
    found = project(BOX.name, [sealed], [reading], {}, at=AT)

    assert reading.sale is None
    assert len(found.notes) == (kind == "sale")


@given(st.binary(max_size=200))
def test_no_bytes_ever_raise(body: bytes) -> None:
    assert read_event(body).fault == "unreadable-event"


def test_a_sale_has_one_digest_by_whichever_way_it_came() -> None:
    sale = a_sale()
    (sealed,) = BOX.chain([sale])
    spaced = msgspec.json.format(canonical({"sale": sale, "flags": []}))

    assert read_event(sealed.body).sha256 == sale_digest(sale)
    again = BOX.seal(Position(1, 0, GENESIS), "sale", msgspec.Raw(spaced))
    assert read_event(again.body).sha256 == sale_digest(sale)


def test_each_sale_is_a_row_a_copy_or_a_note() -> None:
    known, fresh = a_sale(), a_sale()
    strange = a_sale(sale_id=fresh.sale_id, lines=[a_line(unit_price_minor=1)])
    chain = BOX.chain([known, fresh, {"no": "sale"}, strange, fresh])

    found = project(
        BOX.name, chain, [read_event(one.body) for one in chain], {known.sale_id: sale_digest(known)}, at=AT
    )

    assert [row.sale_id for row in found.sales] == [fresh.sale_id]
    assert found.copies == {known.sale_id: 1, fresh.sale_id: 1}
    assert [(note.reason, note.seq) for note in found.notes] == [("sale-conflict", 4)]

"""The chain: what was sealed can be walked, and whatever was done to it afterwards shows."""

import hashlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.errors import BadEvent, ChainFault, Fork, Gap
from appliance.domain.event import GENESIS, Position, content, digest, follow, read, walk
from tests.unit.chains import BOX, START, a_chain, sealed_after


def holds(bodies: list[bytes], head: Position, start: Position = START) -> bool:
    """Whether a journal that starts there and must end at this signed head is whole."""
    try:
        walked = list(walk(start, bodies, box=BOX))
    except ChainFault:
        return False
    return (Position(start.epoch, walked[-1].link.seq, walked[-1].hash) if walked else start) == head


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(max_codepoint=127)), inner, max_size=3)
    ),
    max_leaves=8,
)
chains = st.lists(json_values, min_size=1, max_size=6).map(a_chain)
long_chains = st.lists(json_values, min_size=2, max_size=6).map(a_chain)


@given(chains)
def test_what_was_sealed_can_be_walked(chain: tuple[list[bytes], Position]) -> None:
    bodies, head = chain

    assert holds(bodies, head)
    assert [sealed.body for sealed in walk(START, bodies, box=BOX)] == bodies
    assert all(b"\n" not in body for body in bodies)


@given(chains, st.data())
def test_a_flipped_bit_shows(chain: tuple[list[bytes], Position], data: st.DataObject) -> None:
    bodies, head = chain
    which = data.draw(st.integers(0, len(bodies) - 1))
    bit = data.draw(st.integers(0, len(bodies[which]) * 8 - 1))
    changed = bytearray(bodies[which])
    changed[bit // 8] ^= 1 << bit % 8

    assert not holds([*bodies[:which], bytes(changed), *bodies[which + 1 :]], head)


def test_each_single_flipped_byte_shows() -> None:
    bodies, head = a_chain(["first", {"amount": 1}, None])
    for which, body in enumerate(bodies):
        for place in range(len(body)):
            changed = body[:place] + bytes([body[place] ^ 0x01]) + body[place + 1 :]
            assert not holds([*bodies[:which], changed, *bodies[which + 1 :]], head), (which, place)


@given(chains, st.data())
def test_a_removed_event_shows_also_at_the_end(
    chain: tuple[list[bytes], Position], data: st.DataObject
) -> None:
    bodies, head = chain
    which = data.draw(st.integers(0, len(bodies) - 1))

    assert not holds(bodies[:which] + bodies[which + 1 :], head)


@given(chains, st.data())
def test_a_cut_tail_shows_against_the_head(chain: tuple[list[bytes], Position], data: st.DataObject) -> None:
    bodies, head = chain
    kept = data.draw(st.integers(0, len(bodies) - 1))

    assert not holds(bodies[:kept], head)


@given(long_chains, st.data())
def test_two_events_that_changed_places_show(
    chain: tuple[list[bytes], Position], data: st.DataObject
) -> None:
    bodies, head = chain
    a, b = data.draw(st.lists(st.integers(0, len(bodies) - 1), min_size=2, max_size=2, unique=True))
    bodies[a], bodies[b] = bodies[b], bodies[a]

    assert not holds(bodies, head)


@given(chains, json_values)
def test_an_event_slipped_in_shows(chain: tuple[list[bytes], Position], data: Any) -> None:
    bodies, head = chain

    assert not holds([*bodies, sealed_after(head, data).body], head)
    assert not holds([bodies[0], *bodies], head)


def test_the_first_event_of_an_epoch_hangs_on_zeros_and_the_next_on_its_hash() -> None:
    (first, second), head = a_chain(["a", "b"], Position(3, 0, GENESIS))

    assert content(first).prev == "0" * 64
    assert (content(first).epoch, content(first).seq) == (3, 1)
    assert content(second).prev == hashlib.sha256(first).hexdigest()
    assert head == Position(3, 2, hashlib.sha256(second).digest())


def test_content_of_a_later_form_does_not_keep_an_event_out_of_the_chain() -> None:
    body = msgspec.json.encode(
        {"box": BOX, "epoch": 1, "seq": 1, "prev": "0" * 64, "kind": "hologram", "shape": [1.5, {"x": None}]}
    )

    assert follow(START, read(body), box=BOX).seq == 1
    with pytest.raises(BadEvent, match="content"):
        content(body)


# --- what follows, and what does not


def test_an_event_of_another_box_or_epoch_is_no_event_of_this_chain() -> None:
    with pytest.raises(BadEvent):
        follow(START, sealed_after(START, box="sb-b"), box=BOX)
    with pytest.raises(BadEvent):
        follow(START, sealed_after(Position(2, 0, GENESIS)), box=BOX)


def test_a_gap_names_what_was_expected() -> None:
    with pytest.raises(Gap) as gap:
        follow(START, sealed_after(Position(1, 4, bytes(32))), box=BOX)

    assert gap.value.fields == {"epoch": 1, "seq": 5, "expected": 1}


def test_a_place_that_is_taken_or_another_past_is_a_fork() -> None:
    _, head = a_chain(["a", "b"])
    with pytest.raises(Fork) as taken:
        follow(head, sealed_after(START), box=BOX)
    with pytest.raises(Fork) as other_past:
        follow(head, sealed_after(Position(1, 2, b"\x01" * 32)), box=BOX)

    assert taken.value.fields == {"epoch": 1, "seq": 1}
    assert other_past.value.fields == {"epoch": 1, "seq": 3}


def test_a_hash_in_capitals_is_another_name() -> None:
    (first,), head = a_chain(["a"])
    second = sealed_after(head).body
    shouted = second.replace(digest(first).hex().encode(), digest(first).hex().upper().encode())

    with pytest.raises(Fork):
        follow(head, read(shouted), box=BOX)


def test_events_before_the_fault_are_given_out() -> None:
    bodies, _ = a_chain(["a", "b", "c"])
    walked = walk(START, [bodies[0], bodies[2]], box=BOX)

    assert next(walked).body == bodies[0]
    with pytest.raises(Gap):
        next(walked)


def test_positions_are_ordered_by_epoch_then_seq() -> None:
    assert Position(1, 9, b"\xff") < Position(2, 0, b"") < Position(2, 1, b"")

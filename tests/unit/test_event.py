"""The chain: what was sealed can be walked, and whatever was done to it afterwards shows."""

import hashlib
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.canonical import canonical
from appliance.domain.errors import BadEvent, ChainFault, Fork, Gap
from appliance.domain.event import (
    EVENT_BYTES_MAX,
    GENESIS,
    PLACE_MAX,
    ClockReading,
    Position,
    Sealed,
    content,
    digest,
    follow,
    read,
    seal,
    walk,
)

BOX = "sb-aaaaaaaaaaaaaaaa"
START = Position(1, 0, GENESIS)
CLOCK = ClockReading("floor", "boot-1", 5)


def sealed_after(after: Position, data: Any = None, **other: Any) -> Sealed:
    fields: dict[str, Any] = {
        "box": BOX,
        "kind": "sale",
        "till": "till-1",
        "at": "2026-11-22T08:30:00.000Z",
        "clock": CLOCK,
    }
    return seal(after, **(fields | other), data=data)


def a_chain(datas: list[Any], start: Position = START) -> tuple[list[bytes], Position]:
    """The bodies of a chain, and its head."""
    bodies, after = [], start
    for data in datas:
        sealed = sealed_after(after, data)
        bodies.append(sealed.body)
        after = follow(after, sealed, box=BOX)
    return bodies, after


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


def test_an_event_is_canonical_json_of_the_fields_of_the_format() -> None:
    body = sealed_after(START, {"b": 1, "a": "é"}, till=None).body

    assert body == canonical(
        {
            "box": BOX,
            "epoch": 1,
            "seq": 1,
            "prev": "0" * 64,
            "kind": "sale",
            "till": None,
            "at": "2026-11-22T08:30:00.000Z",
            "clock": {"quality": "floor", "boot": "boot-1", "mono_ns": 5},
            "data": {"a": "é", "b": 1},
        }
    )


def test_raw_data_goes_in_and_comes_out_verbatim() -> None:
    raw = canonical({"x": [1, 2], "é": None})
    sealed = sealed_after(START, msgspec.Raw(raw))

    assert bytes(content(sealed.body).data) == raw
    assert sealed.body == sealed_after(START, {"é": None, "x": [1, 2]}).body


def test_reading_gives_the_place_the_bytes_and_the_hash_that_sealing_gave() -> None:
    sealed = sealed_after(START, "x")
    again = read(sealed.body)

    assert (again.body, again.hash) == (sealed.body, sealed.hash) == (sealed.body, digest(sealed.body))
    assert all(
        getattr(again.link, name) == getattr(sealed.link, name) for name in again.link.__struct_fields__
    )


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


# --- what is no event


PLACE: dict[str, Any] = {"box": BOX, "epoch": 1, "seq": 1, "prev": "0" * 64, "kind": "sale"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"seq": 0},
        {"seq": -1},
        {"seq": 1.0},
        {"seq": True},
        {"seq": PLACE_MAX + 1},
        {"seq": 2**63},
        {"epoch": 0},
        {"epoch": PLACE_MAX + 1},
        {"epoch": "1"},
        {"prev": ""},
        {"prev": "0" * 63},
        {"prev": "0" * 66},
        {"prev": "g" * 64},
        {"prev": "é"},
        {"box": None},
        {"kind": 1},
    ],
    ids=str,
)
def test_a_place_that_cannot_be_is_a_bad_event(wrong: dict[str, Any]) -> None:
    read(canonical(PLACE))
    with pytest.raises(BadEvent):
        read(canonical(PLACE | wrong))


@pytest.mark.parametrize("missing", list(PLACE))
def test_an_event_without_all_of_its_place_is_a_bad_event(missing: str) -> None:
    with pytest.raises(BadEvent):
        read(canonical({key: value for key, value in PLACE.items() if key != missing}))


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"[" * 60_000, b'{"x":' + b"[" * 60_000, b'{"box":"\xff"}'],
    ids=lambda b: repr(b[:9]),
)
def test_bytes_that_are_no_event_are_refused_calmly(body: bytes) -> None:
    for reading in (read, content):
        with pytest.raises(BadEvent):
            reading(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_calmly(noise: bytes) -> None:
    for reading in (read, content):
        with pytest.raises(BadEvent):
            reading(noise)


def test_an_event_over_the_limit_is_refused() -> None:
    room = EVENT_BYTES_MAX - len(sealed_after(START, "").body)

    assert len(read(sealed_after(START, "x" * room).body).body) == EVENT_BYTES_MAX
    with pytest.raises(BadEvent, match="over the limit"):
        read(sealed_after(START, "x" * (room + 1)).body)


def test_positions_are_ordered_by_epoch_then_seq() -> None:
    assert Position(1, 9, b"\xff") < Position(2, 0, b"") < Position(2, 1, b"")


@pytest.mark.parametrize("size", [0, 1, 2_046, 2_047, 2_048, 4_094, 4_095, 100_000])
def test_the_digest_is_sha_256_whatever_the_size(size: int) -> None:
    body = random.Random(size).randbytes(size)

    assert digest(body) == hashlib.sha256(body).digest()

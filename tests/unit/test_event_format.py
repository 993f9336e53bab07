"""One event: its bytes, what is read of them, and what is no event."""

import hashlib
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.canonical import canonical
from appliance.domain.errors import BadEvent
from appliance.domain.event import EVENT_BYTES_MAX, PLACE_MAX, content, digest, read
from tests.unit.chains import BOX, START, sealed_after


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


@pytest.mark.parametrize("size", [0, 1, 2_046, 2_047, 2_048, 4_094, 4_095, 100_000])
def test_the_digest_is_sha_256_whatever_the_size(size: int) -> None:
    body = random.Random(size).randbytes(size)

    assert digest(body) == hashlib.sha256(body).digest()

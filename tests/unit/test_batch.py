"""Batches on the wire: what was packed is unpacked, everything else is refused before it costs anything."""

import random
import tracemalloc

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.batch import Batch, pack, unpack
from appliance.domain.errors import BadInput, Malformed, TooLarge
from appliance.domain.event import GENESIS, ClockReading, Position, seal
from appliance.domain.wire import BATCH_BYTES_MAX, BATCH_EVENTS_MAX
from tests.fakes.sales import a_trading_day

lines = st.binary(min_size=1, max_size=50).map(lambda line: line.replace(b"\n", b" "))


@given(lines, st.lists(lines, min_size=1, max_size=20))
def test_what_was_packed_is_unpacked(head: bytes, bodies: list[bytes]) -> None:
    assert unpack(pack(head, bodies)) == Batch(head, bodies)


def test_a_batch_of_real_events_comes_through_and_shrinks() -> None:
    clock = ClockReading("synced", "boot-1", 1)
    bodies = [
        seal(Position(1, 0, GENESIS), box="sb-1", kind="sale", till="t", at="", clock=clock, data=sale).body
        for sale in a_trading_day(random.Random(1), 100)
    ]
    packed = pack(b"{}", bodies)

    assert unpack(packed).bodies == bodies
    assert len(packed) < sum(map(len, bodies)) / 5


def test_the_limit_of_events_is_the_last_number_taken() -> None:
    assert len(unpack(pack(b"h", [b"e"] * BATCH_EVENTS_MAX)).bodies) == BATCH_EVENTS_MAX
    with pytest.raises(TooLarge):
        unpack(pack(b"h", [b"e"] * (BATCH_EVENTS_MAX + 1)))


def test_the_limit_of_bytes_is_the_last_size_taken() -> None:
    assert len(unpack(pack(b"h", [b"x" * (BATCH_BYTES_MAX - 2)])).bodies[0]) == BATCH_BYTES_MAX - 2
    with pytest.raises(TooLarge):
        unpack(pack(b"h", [b"x" * (BATCH_BYTES_MAX - 1)]))


def test_a_bomb_does_not_go_off() -> None:
    bomb = zstandard.compress(bytes(256 * 1024 * 1024), 1)
    breaks = zstandard.compress(b"\n" * BATCH_BYTES_MAX, 1)
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            unpack(bomb)
        of_bomb = tracemalloc.get_traced_memory()[1]
        with pytest.raises(TooLarge):
            unpack(breaks)
        of_breaks = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert of_bomb < 1024 * 1024
    assert of_breaks < 3 * BATCH_BYTES_MAX


def test_a_batch_cut_anywhere_is_malformed() -> None:
    whole = pack(b"head", [b"first event", b"second event"] * 5)
    for length in range(len(whole)):
        with pytest.raises(Malformed):
            unpack(whole[:length])


def test_a_long_batch_cut_between_two_blocks_is_malformed() -> None:
    rng = random.Random(1)
    whole = pack(b"head", [rng.randbytes(60_000).replace(b"\n", b" ") for _ in range(10)])

    for length in range(1_000, len(whole), 7_001):
        with pytest.raises(Malformed):
            unpack(whole[:length])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not zstd",
        zstandard.compress(b""),
        zstandard.compress(b"only a head"),
        zstandard.compress(b"h\ne") + b"more",
        zstandard.compress(b"h\ne") + zstandard.compress(b"\ne"),
        zstandard.ZstdCompressor(write_content_size=False).compress(b"h\ne"),
    ],
)
def test_what_is_not_one_whole_frame_with_events_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        unpack(body)


@given(st.binary(max_size=200), st.integers(0, 200))
def test_any_bytes_are_refused_calmly(noise: bytes, place: int) -> None:
    whole = pack(b"head", [b"event"])
    for body in (noise, whole[:4] + noise, whole[: place % len(whole)] + noise):
        try:
            batch = unpack(body)
        except BadInput:
            continue
        assert batch.bodies

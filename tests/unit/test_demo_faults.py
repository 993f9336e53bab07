"""What each fault makes of passing bytes, however they are cut into pieces."""

import random

from hypothesis import given
from hypothesis import strategies as st

from demo.faults import Affliction, Course, CutShort, Drip, Fault, Flip, Passed, Reset, Swallow

PIECES = st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=9)


def out_of(course: Course, pieces: list[bytes], *afflictions: Affliction) -> tuple[bytes, str]:
    """All that came out, and how it ended."""
    out = b""
    for piece in [*pieces, b""]:
        passed = course.take(piece, afflictions)
        out += b"".join(data for data, _ in passed.pieces)
        if passed.then != "on":
            return out, passed.then
    return out, "on"


@given(PIECES, st.integers(0, 90))
def test_a_way_ends_after_exactly_so_many_bytes(pieces: list[bytes], after: int) -> None:
    sent = b"".join(pieces)
    faults: dict[str, Fault] = {
        "hang": Swallow("up", after),
        "reset": Reset("up", after),
        "end": CutShort("up", after),
    }
    for then, fault in faults.items():
        out, ended = out_of(Course("up"), pieces, Affliction(fault, 1))

        assert out == sent[:after]
        assert ended == (then if len(sent) >= after else "end")


@given(PIECES, st.integers(0, 8 * 90))
def test_exactly_the_bit_that_is_named_flips(pieces: list[bytes], bit: int) -> None:
    sent = b"".join(pieces)

    out, _ = out_of(Course("down"), pieces, Affliction(Flip("down", bit), 1))

    difference = int.from_bytes(sent, "little") ^ int.from_bytes(out, "little")
    assert difference == (1 << bit if bit < 8 * len(sent) else 0)


@given(PIECES)
def test_a_fault_of_the_other_way_changes_nothing(pieces: list[bytes]) -> None:
    faults = (Swallow("up"), Reset("up"), CutShort("up"), Flip("up", 0), Drip("up", 0.1))

    out, ended = out_of(Course("down"), pieces, *(Affliction(fault, None) for fault in faults))

    assert (out, ended) == (b"".join(pieces), "end")


def test_a_drip_gives_the_first_bytes_at_once_and_then_one_by_one() -> None:
    course, drip = Course("down"), Affliction(Drip("down", 4.0, after_bytes=3), 1)

    assert course.take(b"abcde", [drip]) == Passed([(b"abc", 0.0), (b"d", 0.25), (b"e", 0.25)])
    assert course.take(b"f", [drip]) == Passed([(b"f", 0.25)])


def test_a_fault_strikes_so_many_connections_and_no_more() -> None:
    reset = Affliction(Reset("up"), 2)

    ended = [out_of(Course("up"), [b"question"], reset)[1] for _ in range(3)]

    assert ended == ["reset", "reset", "end"]
    assert reset.spent
    assert reset.struck == 2


def test_bytes_are_counted_from_the_moment_the_fault_comes() -> None:
    course = Course("up")
    course.take(bytes(random.Random(1).randbytes(500)), [])

    assert out_of(course, [b"question"], Affliction(CutShort("up", 4), 1)) == (b"ques", "end")

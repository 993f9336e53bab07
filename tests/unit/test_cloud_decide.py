"""The decision over a batch, for any chain, any stored part of it and any damage."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.errors import BadEvent, ChainFault, Fork, Gap
from appliance.domain.event import GENESIS, Position, Sealed
from cloud.ingest import decide
from tests.fakes.boxes import LooseBox, end_of

BOX = LooseBox(1)
CHAIN = BOX.notes(12)
PLACES = st.integers(0, len(CHAIN))


def books(stored: int) -> tuple[Position, dict[int, bytes]]:
    end = end_of(CHAIN[:stored]) if stored else Position(1, 0, GENESIS)
    return end, {one.link.seq: one.hash for one in CHAIN[:stored]}


def judge(stored: int, events: list[Sealed]) -> list[Sealed]:
    end, hashes = books(stored)
    repeated = {seq: hashes[seq] for seq in hashes if events[0].link.seq <= seq <= events[-1].link.seq}
    return decide(end, repeated, events, box=BOX.name)


@given(PLACES, PLACES, PLACES)
def test_a_true_part_of_the_chain_adds_exactly_what_is_missing_or_is_a_gap(
    stored: int, first: int, last: int
) -> None:
    first, last = sorted((first, last))
    batch = CHAIN[first:last] or CHAIN[-1:]
    start = batch[0].link.seq

    if start > stored + 1:
        with pytest.raises(Gap) as gap:
            judge(stored, batch)
        assert gap.value.fields["expected"] == stored + 1
    else:
        assert judge(stored, batch) == [one for one in batch if one.link.seq > stored]


@given(
    stored=PLACES, branch=st.integers(0, len(CHAIN) - 1), more=st.integers(1, 5), repeat=st.integers(0, 11)
)
def test_another_branch_never_adds_anything_once_the_trunk_is_stored(
    stored: int, branch: int, more: int, repeat: int
) -> None:
    base = end_of(CHAIN[:branch]) if branch else Position(1, 0, GENESIS)
    other = BOX.chain([{"other": number} for number in range(more)], base)
    batch = [*CHAIN[min(repeat, branch) : branch], *other]

    if stored <= branch and batch[0].link.seq <= stored + 1:
        # Nobody has seen the trunk go on: this branch is the chain.
        assert judge(stored, batch) == [one for one in batch if one.link.seq > stored]
    else:
        with pytest.raises(ChainFault):
            judge(stored, batch)


@given(st.integers(0, 11), st.integers(0, 11), PLACES)
def test_events_left_out_or_out_of_order_inside_a_batch_are_refused(one: int, two: int, stored: int) -> None:
    swapped = list(CHAIN)
    swapped[one], swapped[two] = swapped[two], swapped[one]
    shortened = CHAIN[:one] + CHAIN[one + 1 :]

    if one != two:
        with pytest.raises(ChainFault):
            judge(stored, swapped)
    if 0 < one < 11:
        with pytest.raises((Gap, Fork)):
            judge(stored, shortened)


def test_events_of_another_box_or_epoch_never_pass() -> None:
    with pytest.raises(BadEvent):
        judge(0, LooseBox(2).notes(1))
    with pytest.raises(BadEvent):
        judge(0, BOX.notes(1, Position(2, 0, GENESIS)))


def test_a_hash_that_differs_anywhere_in_the_repeated_part_is_a_fork() -> None:
    end, hashes = books(6)
    for seq in hashes:
        with pytest.raises(Fork) as fork:
            decide(end, {**hashes, seq: b"\1" * 32}, CHAIN, box=BOX.name)
        assert fork.value.fields["seq"] == seq


def test_what_is_repeated_is_compared_by_hash_not_by_place() -> None:
    altered = msgspec.structs.replace(CHAIN[5], hash=b"\2" * 32)

    with pytest.raises(Fork):
        judge(6, [*CHAIN[:5], altered])

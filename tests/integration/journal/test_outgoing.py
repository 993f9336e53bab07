"""Batches come in order, end at a signed head, and begin after the last receipt."""

import asyncio
import random
from pathlib import Path

import pytest

from appliance.domain import event as chain
from appliance.domain.errors import BadEvent
from appliance.domain.statements import HEAD_TYPE, Head, Receipt, verify
from appliance.runtime.database import read_only_uri
from appliance.storage.commit import Draft
from appliance.storage.journal import Journal
from appliance.storage.outgoing import Outgoing, OutgoingBatch, open_outgoing
from tests.fakes.journals import BOX, KEYS, a_journal, a_note


async def settle(journal: Journal, batch: OutgoingBatch) -> None:
    head = chain.digest(batch.bodies[-1]).hex()
    await journal.settle(
        Receipt(BOX, batch.epoch, batch.last_seq, head, "2026-11-22T08:30:00Z", "00"), b"envelope"
    )


async def drained(journal: Journal, outgoing: Outgoing, events_max: int) -> list[OutgoingBatch]:
    batches = []
    while (batch := await outgoing.next_batch(events_max)) is not None:
        batches.append(batch)
        await settle(journal, batch)
    return batches


async def test_batches_hold_every_event_once_in_order_under_the_head_they_end_with(tmp_path: Path) -> None:
    rng = random.Random(3)
    async with (
        a_journal(tmp_path) as journal,
        open_outgoing(read_only_uri(tmp_path / "journal.db")) as outgoing,
    ):
        for _ in range(40):
            await asyncio.gather(*(journal.append(a_note(n)) for n in range(rng.randint(1, 9))))

        batches = await drained(journal, outgoing, 25)

    seqs = [chain.read(body).link.seq for batch in batches for body in batch.bodies]
    assert seqs == list(range(1, journal.end.seq + 1))
    for batch in batches:
        assert len(batch.bodies) <= 25
        head = verify(batch.head, HEAD_TYPE, Head, KEYS)
        assert (head.seq, head.head) == (batch.last_seq, chain.digest(batch.bodies[-1]).hex())


async def test_a_group_larger_than_the_batch_goes_whole(tmp_path: Path) -> None:
    async with (
        a_journal(tmp_path) as journal,
        open_outgoing(read_only_uri(tmp_path / "journal.db")) as outgoing,
    ):
        await asyncio.gather(*(journal.append(a_note(n)) for n in range(200)))

        batches = await drained(journal, outgoing, 5)

    assert max(len(batch.bodies) for batch in batches) > 5
    assert sum(len(batch.bodies) for batch in batches) == 201


async def test_a_batch_that_is_not_settled_comes_again(tmp_path: Path) -> None:
    async with (
        a_journal(tmp_path) as journal,
        open_outgoing(read_only_uri(tmp_path / "journal.db")) as outgoing,
    ):
        await journal.append(a_note(1))

        assert await outgoing.next_batch(500) == await outgoing.next_batch(500)


async def test_large_events_are_cut_into_batches_below_the_byte_limit(tmp_path: Path) -> None:
    big = Draft("noted", b'{"text":"%b"}' % (b"x" * 400_000))
    async with (
        a_journal(tmp_path) as journal,
        open_outgoing(read_only_uri(tmp_path / "journal.db")) as outgoing,
    ):
        for _ in range(30):
            await journal.append(big)

        batches = await drained(journal, outgoing, 500)

    sizes = [sum(map(len, batch.bodies)) for batch in batches]
    assert len(batches) == 2
    assert max(sizes) < 8 * 1024 * 1024


async def test_a_receipt_for_another_event_settles_nothing(tmp_path: Path) -> None:
    async with a_journal(tmp_path) as journal:
        forged = Receipt(BOX, 1, 1, "00" * 32, "2026-11-22T08:30:00Z", "00")

        with pytest.raises(BadEvent):
            await journal.settle(forged, b"envelope")

        assert journal.synced() == {}
        assert journal.backlog() == 1


async def test_a_late_receipt_does_not_move_the_cursor_back(tmp_path: Path) -> None:
    async with (
        a_journal(tmp_path) as journal,
        open_outgoing(read_only_uri(tmp_path / "journal.db")) as outgoing,
    ):
        early = await outgoing.next_batch(500)
        await journal.append(a_note(1))
        late = await outgoing.next_batch(500)
        assert early is not None
        assert late is not None

        await settle(journal, late)
        await settle(journal, early)

        assert journal.synced() == {1: 2}
        assert journal.oldest_waiting() is None


async def test_the_oldest_waiting_event_is_the_first_without_a_receipt(tmp_path: Path) -> None:
    async with (
        a_journal(tmp_path) as journal,
        open_outgoing(read_only_uri(tmp_path / "journal.db")) as outgoing,
    ):
        for batch in await drained(journal, outgoing, 500):
            assert batch.epoch == 1
        entry = await journal.append(a_note(1))
        await journal.append(a_note(2))

        assert journal.oldest_waiting() == entry.body
        assert journal.backlog() == 2


async def test_what_follows_a_batch_that_is_on_its_way_can_be_asked_for(tmp_path: Path) -> None:
    async with (
        a_journal(tmp_path) as journal,
        open_outgoing(read_only_uri(tmp_path / "journal.db")) as outgoing,
    ):
        for number in range(9):
            await journal.append(a_note(number))
        first = await outgoing.next_batch(6)
        assert first is not None
        second = await outgoing.next_batch(6, (), first.end)
        assert second is not None

        assert (first.last_seq, first.more) == (6, True)
        assert (second.last_seq, second.more, len(second.bodies)) == (10, False, 4)
        assert await outgoing.next_batch(6, (), second.end) is None

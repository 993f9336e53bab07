"""What the cloud does with a batch: each row of the table in docs/PROTOCOL.md, and what surrounds it."""

import asyncio
from pathlib import Path

import pytest

from appliance.domain import batch, event, wire
from appliance.domain.canonical import canonical
from appliance.domain.event import Position, Sealed
from tests.fakes.boxes import LooseBox, end_of
from tests.fakes.clock import FakeClock
from tests.fakes.sales import a_sale
from tests.integration.cloud.conftest import Enrolled, World, a_world


def bodies(sealed: list[Sealed]) -> list[bytes]:
    return [one.body for one in sealed]


async def test_a_batch_that_follows_is_stored_verbatim_and_receipted(box: Enrolled) -> None:
    chain = box.box.notes(3)

    receipt = await box.receipt(box.box.pack(chain))

    assert receipt.position == end_of(chain)
    assert await box.stored() == bodies(chain)


async def test_the_next_batch_continues_the_chain(box: Enrolled) -> None:
    chain = box.box.notes(5)
    await box.receipt(box.box.pack(chain[:3]))

    receipt = await box.receipt(box.box.pack(chain[3:]))

    assert receipt.position == end_of(chain)
    assert await box.stored() == bodies(chain)


async def test_a_repeated_batch_stores_nothing_and_gets_a_receipt_again(box: Enrolled) -> None:
    chain = box.box.notes(3)
    await box.receipt(box.box.pack(chain))

    receipt = await box.receipt(box.box.pack(chain))

    assert receipt.position == end_of(chain)
    assert await box.stored() == bodies(chain)


async def test_a_batch_that_overlaps_stores_only_what_is_new(box: Enrolled) -> None:
    chain = box.box.notes(6)
    await box.receipt(box.box.pack(chain[:4]))

    receipt = await box.receipt(box.box.pack(chain[1:]))

    assert receipt.position == end_of(chain)
    assert await box.stored() == bodies(chain)


async def test_the_receipt_of_an_old_batch_names_the_clouds_own_head(box: Enrolled) -> None:
    chain = box.box.notes(6)
    await box.receipt(box.box.pack(chain))

    receipt = await box.receipt(box.box.pack(chain[:2]))

    assert receipt.position == end_of(chain)


async def test_another_event_at_a_stored_place_is_a_fork_and_stores_nothing(box: Enrolled) -> None:
    chain = box.box.notes(3)
    await box.receipt(box.box.pack(chain))
    other = box.box.chain([{"other": True}, {"more": True}], end_of(chain[:2]))

    answer = await box.send(box.box.pack(other))

    assert (answer.status, answer.problem) == (409, "fork")
    assert await box.stored() == bodies(chain)


async def test_an_event_that_names_another_one_before_it_is_a_fork(box: Enrolled) -> None:
    chain = box.box.notes(3)
    await box.receipt(box.box.pack(chain))
    strange = box.box.notes(1, Position(1, 3, b"\7" * 32))

    answer = await box.send(box.box.pack(strange))

    assert (answer.status, answer.problem) == (409, "fork")
    assert await box.stored() == bodies(chain)


async def test_an_event_altered_inside_a_batch_breaks_the_chain(box: Enrolled) -> None:
    chain = box.box.notes(3)
    altered = [chain[0].body, chain[1].body.replace(b'"number":1', b'"number":9'), chain[2].body]

    answer = await box.send(batch.pack(box.box.head(chain[2]), altered))

    assert (answer.status, answer.problem) == (409, "fork")
    assert await box.stored() == []


async def test_a_batch_that_leaves_events_out_is_a_gap_that_names_the_expected_one(box: Enrolled) -> None:
    chain = box.box.notes(6)
    await box.receipt(box.box.pack(chain[:2]))

    answer = await box.send(box.box.pack(chain[4:]))

    assert (answer.status, answer.problem, answer.json()["expected"]) == (409, "gap", 3)
    assert await box.stored() == bodies(chain[:2])


async def test_forks_and_gaps_are_shown_to_head_office_once(box: Enrolled) -> None:
    chain = box.box.notes(6)
    for _ in range(3):
        await box.send(box.box.pack(chain[4:]))

    exceptions = (await box.world.read("/v1/exceptions")).json()

    assert [(e["reason"], e["box"], e["epoch"], e["seq"]) for e in exceptions] == [
        ("gap", box.box.name, 1, 6)
    ]


async def test_a_head_signed_by_another_key_is_refused(box: Enrolled) -> None:
    chain = box.box.notes(2)
    stranger = LooseBox()

    answer = await box.send(batch.pack(stranger.head(chain[-1], box=box.box.name), bodies(chain)))

    assert (answer.status, answer.problem) == (403, "bad-signature")
    assert await box.stored() == []


async def test_a_head_that_names_another_event_than_the_last_vouches_for_nothing(box: Enrolled) -> None:
    chain = box.box.notes(3)

    answer = await box.send(batch.pack(box.box.head(chain[1]), bodies(chain)))

    assert (answer.status, answer.problem) == (403, "bad-signature")
    assert await box.stored() == []


async def test_an_unknown_token_is_not_let_in_and_another_box_may_not_speak_for_this_one(
    world: World,
) -> None:
    one, two = await world.enrolled(), await world.enrolled()
    chain = one.box.notes(1)

    unknown = await world.ask("POST", f"{one.path}/events", "nobody", data=one.box.pack(chain))
    other = await world.ask("POST", f"{one.path}/events", two.token, data=one.box.pack(chain))

    assert (unknown.status, unknown.problem) == (401, "unauthenticated")
    assert (other.status, other.problem) == (403, "not-allowed")
    assert await one.stored() == []


async def test_a_new_epoch_starts_at_one_from_nothing(box: Enrolled) -> None:
    first = box.box.notes(2)
    second = box.box.notes(3, Position(2, 0, bytes(32)))
    await box.receipt(box.box.pack(first))

    receipt = await box.receipt(box.box.pack(second))

    assert receipt.position == end_of(second)
    rows = (await box.world.read(f"{box.path}/epochs")).json()
    assert [(row["epoch"], row["seq"], row["head"]) for row in rows] == [
        (1, 2, first[-1].hash.hex()),
        (2, 3, second[-1].hash.hex()),
    ]


@pytest.mark.parametrize(
    ("start", "problem"), [(Position(2, 1, b"\1" * 32), "gap"), (Position(2, 0, b"\1" * 32), "fork")]
)
async def test_a_new_epoch_that_starts_elsewhere_is_refused(
    box: Enrolled, start: Position, problem: str
) -> None:
    answer = await box.send(box.box.pack(box.box.notes(1, start)))

    assert (answer.status, answer.problem) == (409, problem)
    assert await box.stored(2) == []


async def test_events_of_two_epochs_or_of_another_box_do_not_mix(box: Enrolled) -> None:
    chain, later = box.box.notes(1), box.box.notes(1, Position(2, 0, bytes(32)))
    foreign = LooseBox().notes(1)

    mixed = await box.send(batch.pack(box.box.head(later[0]), bodies(chain + later)))
    stranger = await box.send(batch.pack(box.box.head(foreign[0]), bodies(foreign)))

    assert (mixed.status, mixed.problem) == (400, "bad-event")
    assert (stranger.status, stranger.problem) == (400, "bad-event")


async def test_two_identical_batches_at_once_store_once_and_both_get_a_receipt(box: Enrolled) -> None:
    sales = [a_sale() for _ in range(20)]
    chain = box.box.chain(sales)
    body = box.box.pack(chain)

    receipts = await asyncio.gather(*(box.receipt(body) for _ in range(4)))

    assert {receipt.seq for receipt in receipts} == {20}
    assert await box.stored() == bodies(chain)
    rows = (await box.world.read("/v1/sales")).lines()
    assert [row["copies"] for row in rows] == [0] * 20


async def test_receipts_hold_after_a_restart(tmp_path: Path) -> None:
    async with a_world(tmp_path, FakeClock()) as world:
        box = await world.enrolled(seed=7)
        chain = box.box.notes(4)
        before = await box.receipt(box.box.pack(chain))
        token = box.token

    async with a_world(tmp_path, FakeClock()) as world:
        again = Enrolled(world, box.box, box.answer, box.cloud)
        assert again.token == token
        assert (await again.receipt(again.box.pack(chain))).position == before.position
        assert await again.stored() == bodies(chain)


async def test_content_that_nobody_can_read_is_stored_and_becomes_an_exception(box: Enrolled) -> None:
    good, end = a_sale(), Position(1, 0, bytes(32))
    poison = [
        box.box.seal(end, "sale", {"sale": {"sale_id": "of a later form"}, "flags": []}),
    ]
    poison.append(box.box.seal(end_of(poison), "sale", ["not", "even", "an", "object"]))
    # An event that has its place in the chain, and nothing else that an event has.
    place = {"box": box.box.name, "epoch": 1, "seq": 3, "prev": poison[1].hash.hex(), "kind": "sale"}
    bare = canonical(place)
    after = Position(1, 3, event.digest(bare))
    last = box.box.chain([good], after)

    receipt = await box.receipt(
        batch.pack(box.box.head(last[0]), [poison[0].body, poison[1].body, bare, last[0].body])
    )

    assert receipt.seq == 4
    assert len(await box.stored()) == 4
    exceptions = (await box.world.read("/v1/exceptions")).json()
    assert [(e["reason"], e["seq"]) for e in exceptions] == [
        ("unreadable-sale", 1),
        ("unreadable-sale", 2),
        ("unreadable-event", 3),
    ]
    assert all(e["detail"] for e in exceptions)
    assert [row["sale_id"] for row in (await box.world.read("/v1/sales")).lines()] == [good.sale_id]


@pytest.mark.parametrize(
    ("body", "status", "problem"),
    [
        (b"no zstd at all", 400, "malformed"),
        (b"", 400, "malformed"),
        (batch.pack(b"{}", [b"{}"]), 403, "bad-signature"),
        (batch.pack(b"{}", [b"{}"] * (wire.BATCH_EVENTS_MAX + 1)), 413, "too-large"),
        (batch.pack(b"{}", [b"x" * (wire.BATCH_BYTES_MAX + 1)]), 413, "too-large"),
        (bytes(wire.BATCH_BYTES_MAX + 1), 413, "too-large"),
    ],
)
async def test_what_is_no_batch_is_refused_with_a_reason(
    box: Enrolled, body: bytes, status: int, problem: str
) -> None:
    answer = await box.send(body)

    assert (answer.status, answer.problem) == (status, problem)


async def test_an_event_that_names_no_place_is_refused(box: Enrolled) -> None:
    chain = box.box.notes(1)

    answer = await box.send(batch.pack(box.box.head(chain[0]), [b'{"kind":"sale"}']))

    assert (answer.status, answer.problem) == (400, "bad-event")


async def test_a_batch_needs_its_media_type_and_a_nonce(box: Enrolled) -> None:
    body = box.box.pack(box.box.notes(1))

    media = await box.post("events", body, "application/json", Storebox_Nonce="0" * 32)
    nonce = await box.post("events", body, wire.BATCH_MEDIA)
    zipped = await box.post(
        "events", body, wire.BATCH_MEDIA, Storebox_Nonce="0" * 32, Content_Encoding="gzip"
    )

    assert (media.status, media.problem) == (415, "unsupported-media-type")
    assert (nonce.status, nonce.problem) == (400, "malformed")
    assert (zipped.status, zipped.problem) == (415, "unsupported-media-type")
    assert await box.stored() == []


async def test_events_are_read_in_pages_that_join_without_seams(box: Enrolled) -> None:
    chain = box.box.notes(450)
    await box.receipt(box.box.pack(chain))

    first = await box.world.read(f"{box.path}/epochs/1/events?limit=300")
    rest = await box.world.read(f"{box.path}/epochs/1/events?after=300&limit=300")

    assert len(first.body.splitlines()) == 300
    assert first.body.splitlines() + rest.body.splitlines() == bodies(chain)

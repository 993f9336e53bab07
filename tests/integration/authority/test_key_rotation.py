"""A box changes its event key: head office follows, and the old one signs nothing new from then on."""

import itertools
from typing import Any

import msgspec

from appliance.domain.dsse import Signer
from appliance.domain.event import GENESIS, Position, Sealed
from appliance.domain.keychain import Rotation, rotate
from appliance.domain.wire import BATCH_MEDIA, ENVELOPE_MEDIA
from appliance.runtime.clock import rfc3339
from tests.fakes.boxes import LooseBox, end_of
from tests.fakes.clock import OPENING
from tests.integration.authority.conftest import CertifiedBox
from tests.integration.cloud.conftest import Enrolled, World, a_world, box, clock, world

__all__ = ["a_world", "box", "clock", "world"]


def rotated(
    box: LooseBox, new: Signer, after: Position, *, number: int = 1, old: Signer | None = None
) -> Sealed:
    rotation = rotate(box.name, number, old or box.signer, new, rfc3339(OPENING))
    return told(box, rotation, after)


def told(box: LooseBox, rotation: Rotation, after: Position) -> Sealed:
    data: Any = msgspec.to_builtins(rotation)
    return box.seal(after, "key_rotated", data)


def with_key(box: LooseBox, signer: Signer) -> LooseBox:
    """The same box, signing with another key."""
    same = LooseBox()
    same.signer, same.name = signer, box.name
    return same


def opening(epoch: int) -> Position:
    return Position(epoch, 0, GENESIS)


async def test_the_new_key_counts_from_the_event_that_tells_of_it(box: Enrolled) -> None:
    old, new = box.box, with_key(box.box, LooseBox().signer)
    first = old.notes(2)
    too_soon = await box.send(new.pack(new.notes(1, opening(2))))

    await box.receipt(old.pack([*first, rotated(old, new.signer, end_of(first))]))
    await box.receipt(new.pack(new.notes(3, opening(2))))

    assert (too_soon.status, too_soon.problem) == (403, "bad-signature")
    assert len(await box.stored(2)) == 3
    (row,) = [
        row
        for row in (await box.world.read("/v1/audit?after=0&limit=99")).json()
        if row["action"] == "key-rotated"
    ]
    assert (row["subject"], row["data"]["new"]) == (old.name, new.signer.key_id)


async def test_a_retired_key_signs_nothing_behind_the_event_that_retired_it(box: Enrolled) -> None:
    old, new = box.box, LooseBox().signer
    first = old.notes(2)
    turn = rotated(old, new, end_of(first))
    await box.receipt(old.pack([*first, turn]))

    opens = await box.send(old.pack(old.notes(1, opening(2))))
    goes_on = await box.send(old.pack(old.notes(1, end_of([turn]))))

    assert (opens.status, opens.problem) == (403, "bad-signature")
    assert (goes_on.status, goes_on.problem) == (403, "bad-signature")
    assert await box.stored(2) == []
    assert len(await box.stored(1)) == 3
    # What was sent before is answered as before: its answer may have been lost.
    await box.receipt(old.pack([*first, turn]))


async def test_events_that_follow_their_own_rotation_are_refused_with_it(box: Enrolled) -> None:
    old = box.box
    turn = rotated(old, LooseBox().signer, opening(1))

    refused = await box.send(old.pack([turn, *old.notes(1, end_of([turn]))]))

    assert (refused.status, refused.problem) == (403, "bad-signature")
    assert await box.stored(1) == []


async def test_a_retired_key_proves_what_a_rescue_brings_of_earlier_epochs(box: Enrolled) -> None:
    old = box.box
    first = old.notes(4)
    await box.receipt(old.pack(first[:2]))
    await box.receipt(old.pack([rotated(old, LooseBox().signer, opening(2))]))

    answer = await box.world.ask(
        "POST",
        f"/v1/rescue/{old.name}/events",
        box.world.head_office,
        data=old.pack(first[2:]),
        headers={"Content-Type": BATCH_MEDIA},
    )

    assert answer.status == 200
    assert len(await box.stored(1)) == 4


def opened(box: LooseBox, rotations: list[Rotation], epoch: int) -> Sealed:
    """The first event of an epoch, as a box writes it that has changed its key."""
    data: Any = {"reason": "journal-set-aside", "rotations": msgspec.to_builtins(rotations)}
    return box.seal(opening(epoch), "epoch_opened", data)


def two_rotations(box: LooseBox) -> tuple[LooseBox, LooseBox, list[Rotation]]:
    """The box after one change of its key and after two, none of which head office has heard of."""
    keys = [box.signer, LooseBox().signer, LooseBox().signer]
    rotations = [
        rotate(box.name, number, old, new, rfc3339(OPENING))
        for number, (old, new) in enumerate(itertools.pairwise(keys), start=1)
    ]
    return with_key(box, keys[1]), with_key(box, keys[2]), rotations


async def test_the_opening_of_an_epoch_tells_again_of_keys_whose_journal_was_lost(box: Enrolled) -> None:
    old = box.box
    middle, new, rotations = two_rotations(old)
    await box.receipt(old.pack(old.notes(2)))
    begin = opened(new, rotations, 3)

    await box.receipt(new.pack([begin]))

    await box.receipt(new.pack(new.notes(2, end_of([begin]))))
    for retired in (old, middle):
        assert (await box.send(retired.pack(old.notes(1, opening(4))))).problem == "bad-signature"
    assert (await box.post("heartbeat", new.heartbeat(), ENVELOPE_MEDIA)).status == 200
    assert (await box.world.read("/v1/exceptions")).json() == []
    # A rescue of the lost journal tells it once more.
    lost = opened(old, [], 2)
    turn = told(old, rotations[0], end_of([lost]))
    await box.world.ask(
        "POST",
        f"/v1/rescue/{old.name}/events",
        box.world.head_office,
        data=old.pack([lost, turn]),
        headers={"Content-Type": BATCH_MEDIA},
    )
    assert len(await box.stored(2)) == 2
    assert (await box.world.read("/v1/exceptions")).json() == []


async def test_an_opening_leads_to_no_key_that_the_believed_one_has_not_signed(box: Enrolled) -> None:
    old, thief, new = box.box, LooseBox().signer, with_key(box.box, LooseBox().signer)
    forged = rotate(old.name, 1, thief, new.signer, rfc3339(OPENING))

    for rotations in ([forged], []):
        answer = await box.send(new.pack([opened(new, rotations, 2)]))
        assert (answer.status, answer.problem) == (403, "bad-signature")
    unreadable = new.seal(opening(2), "epoch_opened", {"rotations": 5})
    assert (await box.send(new.pack([unreadable]))).problem == "bad-signature"
    assert await box.stored(2) == []


async def test_an_opening_with_another_boxs_key_stores_nothing(world: World) -> None:
    one, two = await world.enrolled(), await world.enrolled()
    shared = LooseBox().signer
    await one.receipt(one.box.pack([rotated(one.box, shared, opening(1))]))
    rotation = rotate(two.box.name, 1, two.box.signer, shared, rfc3339(OPENING))
    new = with_key(two.box, shared)

    answer = await two.send(new.pack([opened(new, [rotation], 2)]))

    assert answer.problem == "bad-signature"
    assert await two.stored(2) == []


async def test_a_stolen_card_with_a_retired_key_is_rescued_into_no_new_epoch(box: Enrolled) -> None:
    old = box.box
    await box.receipt(old.pack([rotated(old, LooseBox().signer, opening(1))]))
    loose = old.notes(3, opening(2))[1:]

    answer = await box.world.ask(
        "POST",
        f"/v1/rescue/{old.name}/events",
        box.world.head_office,
        data=old.pack(loose),
        headers={"Content-Type": BATCH_MEDIA},
    )

    assert (answer.status, answer.problem) == (403, "bad-signature")


async def test_keys_follow_one_another_and_the_last_one_signs_heartbeats(box: Enrolled) -> None:
    keys = [box.box.signer, LooseBox().signer, LooseBox().signer]
    for epoch, (old, new) in enumerate(itertools.pairwise(keys), start=1):
        signer = with_key(box.box, old)
        await box.receipt(signer.pack([rotated(signer, new, opening(epoch), number=epoch)]))
    last = with_key(box.box, keys[-1])

    answer = await box.post("heartbeat", last.heartbeat(), ENVELOPE_MEDIA)

    assert answer.status == 200
    await box.receipt(last.pack(last.notes(1, opening(3))))


async def test_a_rotation_that_does_not_hold_changes_nothing_and_is_written_down(box: Enrolled) -> None:
    old, thief, new = box.box, LooseBox().signer, LooseBox().signer
    forged = rotated(old, new, opening(1), old=thief)
    nonsense = old.seal(end_of([forged]), "key_rotated", {"by_old": 5})

    await box.receipt(old.pack([forged, nonsense]))

    refused = await box.send(with_key(old, new).pack(with_key(old, new).notes(1, opening(2))))
    assert refused.problem == "bad-signature"
    rows = (await box.world.read("/v1/exceptions")).json()
    assert [row["reason"] for row in rows] == ["bad-rotation"] * 2


async def test_a_rotation_told_twice_counts_once(box: Enrolled) -> None:
    old, new = box.box, with_key(box.box, LooseBox().signer)
    rotation = rotate(old.name, 1, old.signer, new.signer, rfc3339(OPENING))
    await box.receipt(old.pack([told(old, rotation, opening(1))]))

    await box.receipt(new.pack([told(new, rotation, opening(2))]))

    assert (await box.world.read("/v1/exceptions")).json() == []
    await box.receipt(new.pack(new.notes(1, opening(3))))


async def test_another_boxs_key_is_no_new_key(world: World) -> None:
    one, two = await world.enrolled(), await world.enrolled()
    shared = LooseBox().signer
    await one.receipt(one.box.pack([rotated(one.box, shared, opening(1))]))

    await two.receipt(two.box.pack([rotated(two.box, shared, opening(1))]))

    (row,) = (await world.read("/v1/exceptions")).json()
    assert (row["reason"], row["box"]) == ("bad-rotation", two.box.name)


async def test_a_box_enrols_again_under_its_first_name_with_its_last_key(box: Enrolled) -> None:
    old, new = box.box, LooseBox().signer
    await box.receipt(old.pack([rotated(old, new, opening(1))]))
    again = CertifiedBox()
    again.signer = new

    answer = await box.world.post_enrolment(again.request(await box.world.claim()))
    retired = await box.world.post_enrolment(old.enrolment(await box.world.claim_secret()))

    assert answer.json()["box"] == old.name
    assert (retired.status, retired.problem) == (403, "not-allowed")

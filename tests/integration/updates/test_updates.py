"""The daemon's part of an update: what it takes, and what it tells."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.domain.dsse import Signer
from appliance.domain.errors import StorageFault
from appliance.domain.update import Outcome, Reason
from appliance.services.updates import (
    PIECE_BYTES,
    REST_S,
)
from tests.fakes.updates import BUNDLE, an_offer
from tests.integration.updates.conftest import PIECES, Box


async def test_an_offer_is_fetched_whole_and_then_waits_for_a_quiet_moment(box: Box) -> None:
    await box.fetch()

    assert box.files.bundle.read_bytes() == BUNDLE
    assert await box.requested() is None
    view = box.updates.view()
    assert (view.version, view.fetched_bytes, view.size) == ("0.2.0", len(BUNDLE), len(BUNDLE))
    assert (view.running, view.compatible) == ("0.1.0", "storebox-amd64")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"compatible": "storebox-rpi"}, "other-hardware"),
        ({"version": "0.0.9", "floor": "0.1.0"}, "older-than-allowed"),
        ({"version": "0.1.0"}, "already-there"),
        ({"size": 2**30 + 1}, "too-large"),
    ],
)
async def test_what_the_rules_forbid_is_refused_once_and_told(
    box: Box, fields: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    box.cloud.offered = an_offer(**fields)
    async with box.running():
        box.updates.nudge(1)
        await box.clock.run_until(lambda: box.notes.written)
        box.updates.nudge(1)
        await box.clock.advance(60.0)

    ((kind, data),) = box.notes.written
    assert (kind, data["number"], data["reason"]) == ("update_refused", 1, reason)
    assert (box.cloud.pieces, (tmp_path / "update/offer").exists()) == ([], False)
    assert not box.updates.went_back


async def test_an_offer_that_head_office_did_not_sign_is_refused_and_not_asked_for_again(box: Box) -> None:
    box.cloud.by = Signer(Ed25519PrivateKey.generate())
    async with box.running():
        box.updates.nudge(1)
        await box.clock.run_until(lambda: box.notes.written)
    async with box.running():
        box.updates.nudge(1)
        await box.clock.advance(60.0)

    ((kind, data),) = box.notes.written
    assert (kind, data["reason"]) == ("update_refused", "bad-signature")


async def test_a_floor_stays_raised_also_after_a_restart(box: Box) -> None:
    box.cloud.offered = an_offer(version="0.1.0", floor="0.1.0")
    async with box.running():
        box.updates.nudge(1)
        await box.clock.run_until(lambda: box.notes.written)
    box.cloud.offered = an_offer(number=2, version="0.0.9")
    async with box.running():
        box.updates.nudge(2)
        await box.clock.run_until(lambda: len(box.notes.written) == 2)

    assert box.notes.written[1][1]["reason"] == "older-than-allowed"


async def test_the_floor_of_other_hardware_is_none_of_ours(box: Box) -> None:
    box.cloud.offered = an_offer(compatible="storebox-rpi", floor="9.0.0", version="9.0.0")
    async with box.running():
        box.updates.nudge(1)
        await box.clock.run_until(lambda: box.notes.written)

    assert (await asyncio.to_thread(box.files.memory)).floor == "0.0.0"


async def test_a_later_offer_takes_the_place_of_one_under_way(box: Box) -> None:
    box.cloud.cut_after = 3  # the offer, and two pieces
    async with box.running():
        box.updates.nudge(1)
        await box.clock.run_until(lambda: len(box.cloud.pieces) == 2)
        await box.clock.advance(1.0)
        box.cloud.cut_after, box.cloud.offered = None, an_offer(number=2, version="0.3.0")
        box.updates.nudge(2)
        await box.until("fetched")

    assert box.updates.view().version == "0.3.0"
    assert box.cloud.pieces[2] == 0


async def test_with_no_offer_it_rests_until_it_is_told_of_one(box: Box) -> None:
    async with box.running():
        await box.clock.settle()
        assert box.clock.next_due_s == REST_S
        box.updates.nudge(1)
        await box.until("fetched", within_s=5 * PIECES)


async def test_an_offer_that_is_withdrawn_is_let_go_without_a_verdict(box: Box) -> None:
    await box.fetch()
    async with box.running():
        await box.until("fetched")
        box.updates.nudge(0)
        await box.until("none")
        box.updates.nudge(1)
        await box.until("fetched")

    assert box.notes.written == []
    assert box.files.bundle.exists()


@pytest.mark.parametrize(
    ("state", "kind", "reason"),
    [
        ("updated", "updated", ""),
        ("refused", "update_refused", Reason.NOT_INSTALLED),
        ("rolled-back", "update_rolled_back", "a-reason-of-a-later-release"),
    ],
)
async def test_what_the_root_units_say_is_told_once_and_ends_the_offer(
    box: Box, state: Any, kind: str, reason: str, tmp_path: Path
) -> None:
    await box.fetch()
    await box.end(Outcome(1, "0.2.0", state, "0.1.0", reason, "because"))
    for _ in range(2):
        async with box.running():
            box.updates.nudge(1)
            await box.clock.advance(30.0)

    ((told, data),) = box.notes.written
    assert (told, data["number"], data["was"], data.get("reason", "")) == (kind, 1, "0.1.0", reason)
    view = box.updates.view()
    assert (view.state, view.last, view.last_version) == ("none", state, "0.2.0")
    assert box.updates.went_back == (state == "rolled-back")
    assert [path.name for path in (tmp_path / "update").iterdir()] == ["memory"]


async def test_a_journal_that_takes_nothing_hears_of_it_later(box: Box) -> None:
    box.notes.trouble = StorageFault("no")
    await box.end(Outcome(1, "0.2.0", "updated", "0.1.0"))
    async with box.running():
        await box.clock.advance(60.0)
        assert box.notes.written == []
        box.notes.trouble = None
        await box.clock.run_until(lambda: box.notes.written)


async def test_an_offer_that_the_disk_does_not_give_up_is_waited_for(box: Box, tmp_path: Path) -> None:
    await box.fetch()
    offer = tmp_path / "update/offer"
    offer.rename(tmp_path / "offer")
    offer.mkdir()
    async with box.running():
        await box.clock.advance(60.0)
        offer.rmdir()
        (tmp_path / "offer").rename(offer)
        await box.until("fetched", within_s=60.0)

    assert box.cloud.pieces == [n * PIECE_BYTES for n in range(PIECES)]


async def test_files_that_cannot_be_read_are_as_if_they_were_not_there(box: Box, tmp_path: Path) -> None:
    await box.fetch()
    for name in ("update/memory", "update/offer", "update/request", "records/outcome", "records/attempt"):
        (tmp_path / name).write_bytes(b"\xff{")
    async with box.running():
        box.updates.nudge(1)
        await box.until("fetched")

    assert box.files.bundle.read_bytes() == BUNDLE

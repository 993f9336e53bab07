"""The daemon's part of an update: what it takes, how it fetches, when it asks, and what it tells."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.domain.dsse import Signer
from appliance.domain.errors import DiskFull, StorageFault
from appliance.domain.update import Attempt, Outcome, Reason, Request, read_window
from appliance.services.handover import AGAIN_S, Handover, Manners
from appliance.services.updates import (
    PIECE_BYTES,
    REST_S,
    SERVING_S,
    Bounds,
    Machine,
    Updates,
)
from appliance.storage.update_files import UpdateFiles, UpdateRecords
from tests.fakes.clock import FakeClock
from tests.fakes.notes import Notes
from tests.fakes.updates import BUNDLE, FakeUpdates, an_offer

PIECES = len(BUNDLE) // PIECE_BYTES
IDLE_S = 900.0


class Box:
    """What survives a restart of the daemon, and what the shop does meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.files, self.records = UpdateFiles(folder / "update"), UpdateRecords(folder / "records")
        (folder / "records").mkdir()
        self.cloud, self.notes, self.clock = FakeUpdates(), Notes(), FakeClock()
        self.quiet_s, self.room = 0.0, True
        self.window = ""
        self.updates = self.started()

    def started(self) -> Updates:
        """A new process."""
        return Updates(
            Machine("0.1.0", "storebox-amd64"),
            self.cloud,
            self.cloud.keys,
            self.files,
            self.records,
            self.notes,
            self.clock,
            random.Random(1),
            Bounds(PIECE_BYTES, 2**30),
            Handover(
                self.files,
                self.records,
                self.clock,
                Manners(IDLE_S, read_window(self.window)),
                lambda: self.quiet_s,
            ),
            lambda: self.quiet_s,
            self._admit,
        )

    def _admit(self, more_bytes: int) -> None:
        if not self.room:
            raise DiskFull("full")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self.updates = self.started()
        task = asyncio.create_task(self.updates.run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def until(self, state: str, **within: float) -> None:
        await self.clock.run_until(lambda: self.updates.view().state == state, **within)

    async def fetch(self) -> None:
        """Run until the whole bundle is here."""
        async with self.running():
            self.updates.nudge(self.cloud.offered.number)
            await self.until("fetched")

    async def requested(self) -> Request | None:
        return await asyncio.to_thread(self.files.request)

    async def end(self, outcome: Outcome) -> None:
        """The root units say what became of it."""
        await asyncio.to_thread(self.records.end, outcome)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """A root unit is at it, and has taken up what it was asked; to the kernel its end is that of a killed one."""
        work = self.records.working()
        await asyncio.to_thread(work.__enter__)
        try:
            await asyncio.to_thread(self.files.take_request)
            yield
        finally:
            await asyncio.to_thread(work.__exit__, None, None, None)

    async def attempt(self, phase: Any, *, boot: str = "boot-1", number: int = 1) -> None:
        """The root units say how far they are."""
        offer = self.cloud.offered
        attempt = Attempt(number, offer.version, offer.sha256, "0.1.0", "B", boot, phase)
        await asyncio.to_thread(self.records.begin, attempt)


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


# --- offers


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


# --- fetching


async def test_a_cut_line_costs_one_piece_at_most(box: Box) -> None:
    box.cloud.cut_after = 3
    async with box.running():
        box.updates.nudge(1)
        await box.clock.run_until(lambda: box.cloud.cut_after == 0)
        await box.clock.advance(120.0)
        box.cloud.cut_after = None
        await box.until("fetched")

    assert box.cloud.pieces == [n * PIECE_BYTES for n in range(PIECES)]


async def test_a_restart_goes_on_where_it_was(box: Box) -> None:
    async with box.running():
        box.updates.nudge(1)
        await box.clock.run_until(lambda: len(box.cloud.pieces) == 2)
        await box.clock.settle()
    async with box.running():
        await box.until("fetched")

    assert box.cloud.pieces == [n * PIECE_BYTES for n in range(PIECES)]
    assert box.files.bundle.read_bytes() == BUNDLE


async def test_a_piece_that_the_power_cut_short_is_fetched_from_its_end(box: Box, tmp_path: Path) -> None:
    async with box.running():
        box.updates.nudge(1)
        await box.clock.run_until(lambda: len(box.cloud.pieces) == 2)
        await box.clock.settle()
    with (tmp_path / "update/bundle.part").open("r+b") as part:
        part.truncate(PIECE_BYTES + 17)
    async with box.running():
        await box.until("fetched")

    assert box.cloud.pieces[2] == PIECE_BYTES + 17
    assert box.files.bundle.read_bytes() == BUNDLE


async def test_the_line_is_not_taken_faster_than_allowed_and_slower_while_tills_are_served(box: Box) -> None:
    took = []
    for quiet_s in (SERVING_S, 0.0):
        box.quiet_s = quiet_s
        began_s = box.clock.monotonic()
        await box.fetch()
        took.append(box.clock.monotonic() - began_s)
        box.cloud.offered = an_offer(number=2)

    # The nudge itself ends the rest behind the first piece.
    assert took == pytest.approx([PIECES - 1, 4 * (PIECES - 1)], abs=0.1)


async def test_nothing_is_fetched_while_there_is_no_room(box: Box) -> None:
    box.room = False
    async with box.running():
        box.updates.nudge(1)
        await box.until("fetching")
        await box.clock.advance(3_600.0)
        assert box.cloud.pieces == []
        box.room = True
        await box.until("fetched", within_s=700.0)


async def test_a_bundle_that_is_not_the_one_announced_is_refused_and_gone(box: Box, tmp_path: Path) -> None:
    box.cloud.altered = lambda piece: bytes([piece[0] ^ 1]) + piece[1:]
    async with box.running():
        box.updates.nudge(1)
        await box.clock.run_until(lambda: box.notes.written)
        await box.until("none")

    assert box.notes.written[0][1]["reason"] == "other-bundle"
    assert [path.name for path in (tmp_path / "update").iterdir()] == ["memory"]


# --- the right moment


async def test_it_is_installed_and_started_only_at_quiet_moments(box: Box) -> None:
    await box.fetch()
    offer = box.cloud.offered
    async with box.running():
        await box.clock.advance(3_600.0)
        assert await box.requested() is None
        box.quiet_s = IDLE_S
        await box.until("installing")
        assert await box.requested() == Request("install", 1, "0.2.0", offer.sha256)

        await asyncio.to_thread(box.files.take_request)
        await box.attempt("installing")
        await box.clock.advance(60.0)
        assert (box.updates.view().state, await box.requested()) == ("installing", None)

        box.quiet_s = 0.0
        await box.attempt("installed")
        await box.until("installed")
        await box.clock.advance(3_600.0)
        assert await box.requested() is None
        box.quiet_s = IDLE_S
        await box.until("restarting")
        assert await box.requested() == Request("restart", 1, "0.2.0", offer.sha256)


async def test_an_installation_that_the_power_ended_is_asked_for_again(box: Box) -> None:
    await box.fetch()
    await box.attempt("installing")
    box.clock.reboot("boot-2")
    box.quiet_s = IDLE_S
    async with box.running():
        await box.until("installing")

    assert await box.requested() is not None


async def test_nothing_is_asked_while_the_root_unit_is_at_it_though_nothing_is_on_record_yet(
    box: Box,
) -> None:
    await box.fetch()
    box.quiet_s = IDLE_S
    async with box.running():
        await box.until("installing")
        async with box.at_work():
            await box.clock.advance(60.0)
            assert (box.updates.view().state, await box.requested()) == ("installing", None)
        await box.clock.advance(60.0)

    assert await box.requested() is not None


async def test_a_root_unit_takes_as_long_as_it_takes(box: Box) -> None:
    await box.fetch()
    box.quiet_s = IDLE_S
    async with box.running(), box.at_work():
        await box.attempt("installing")
        await box.clock.advance(3 * AGAIN_S)
        assert (box.updates.view().state, await box.requested()) == ("installing", None)


async def test_an_installation_whose_root_unit_was_killed_is_asked_for_again_after_a_while(box: Box) -> None:
    await box.fetch()
    await box.attempt("installing")
    box.quiet_s = IDLE_S
    async with box.running():
        for _ in range(2):
            await box.clock.advance(AGAIN_S - 30.0)
            assert (box.updates.view().state, await box.requested()) == ("installing", None)
            box.quiet_s = 0.0
            await box.clock.advance(60.0)
            assert await box.requested() is None, "not in front of a customer"
            box.quiet_s = IDLE_S
            await box.clock.advance(60.0)
            assert await box.requested() is not None
            await asyncio.to_thread(box.files.take_request)  # and killed once more


async def test_nothing_is_asked_while_a_restarted_box_proves_itself(box: Box) -> None:
    await box.fetch()
    await box.attempt("restarting")
    box.clock.reboot("boot-2")
    box.quiet_s = 10 * IDLE_S
    async with box.running():
        await box.until("restarting")
        await box.clock.advance(60.0)

    assert await box.requested() is None


async def test_hours_are_kept_by_local_time(box: Box) -> None:
    await box.fetch()
    local = datetime(2026, 11, 22, 1, 59, tzinfo=datetime.now().astimezone().tzinfo)  # noqa: TID251  the machine's own zone
    box.clock.set_wall(local.astimezone(UTC))
    box.window, box.quiet_s = "02:00-05:00", IDLE_S * 4
    async with box.running():
        await box.clock.advance(30.0)
        assert await box.requested() is None
        await box.until("installing", within_s=60.0)


# --- the end


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

"""How the daemon fetches a bundle: piece by piece, at a bounded rate, and on from where it was."""

from pathlib import Path

import pytest

from appliance.services.updates import (
    PIECE_BYTES,
    SERVING_S,
)
from tests.fakes.updates import BUNDLE, an_offer
from tests.integration.updates.conftest import PIECES, Box


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

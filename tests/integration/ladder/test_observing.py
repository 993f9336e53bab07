"""A till tells its box how it was found, and whether multicast reaches it."""

import asyncio
import random
from pathlib import Path

import pytest

from appliance.domain.pairing import Observation
from appliance.runtime.supervision import supervised
from tests.fakes.clock import FakeClock
from tests.fakes.paired_boxes import PairedBox
from tests.fakes.tasks import until
from tests.fakes.tills import Told
from tests.integration.ladder.conftest import LOOPBACK, NOWHERE, Till
from tests.integration.pairing.conftest import a_tls_shop
from tests.integration.till.test_discovery import announced
from till.identity import TillKeys
from till.observing import OBSERVE_EVERY_S
from till.options import Options
from till.pairing import pair_by_code
from till.peer import open_session
from till.report import Connected
from till.wiring import open_till

pytestmark = pytest.mark.slow


async def test_a_till_that_reached_the_box_by_address_only_says_that_it_is_not_seen(
    till: Till, tmp_path: Path
) -> None:
    box, told, clock, rng = PairedBox(), Told(), FakeClock(), random.Random(7)
    async with box.serving():
        await till.pair(box)
        options = Options(state=tmp_path, till_id="till-1", interfaces=NOWHERE)
        async with (
            open_till(options, told.append, clock, rng) as opened,
            supervised(opened.services, clock, rng),
        ):
            await until(lambda: len(box.observed) == 1)
            await clock.advance(OBSERVE_EVERY_S)
            await until(lambda: len(box.observed) == 2)

    assert box.observed == [Observation("unseen", "list")] * 2


async def test_a_till_that_found_the_box_by_multicast_says_so(till: Till, tmp_path: Path) -> None:
    box, told, clock, rng = PairedBox(), Told(), FakeClock(), random.Random(7)
    async with box.serving() as port, announced(box, port, tls="1"):
        box.listed = []
        await till.pair(box)
        options = Options(state=tmp_path, till_id="till-1", interfaces=LOOPBACK)
        async with (
            open_till(options, told.append, clock, rng) as opened,
            supervised(opened.services, clock, rng),
        ):
            await until(lambda: len(box.observed) == 1)
            await clock.advance(OBSERVE_EVERY_S)
            await until(lambda: len(box.observed) == 2)

    assert box.observed == [Observation("seen", "mdns")] * 2


async def test_a_whole_box_says_that_multicast_is_blocked_where_its_tills_reach_it_by_address_only(
    till: Till, tmp_path: Path
) -> None:
    (tmp_path / "shop").mkdir()
    told, rng = Told(), random.Random(7)
    async with a_tls_shop(tmp_path / "shop") as shop:  # it does not announce itself
        keys, clock = TillKeys(tmp_path), shop.clock
        async with open_session(None) as session:
            await pair_by_code(session, keys, await shop.invitation(), "till-1")
        options = Options(state=tmp_path, till_id="till-1", interfaces=NOWHERE)
        async with (
            open_till(options, told.append, clock, rng) as opened,
            supervised(opened.services, clock, rng),
        ):
            await told.wait(Connected)
            box = opened.lookout.box
            assert box is not None
            async with asyncio.timeout(20):
                while "multicast-blocked" not in (await box.status()).issues:
                    await clock.advance(OBSERVE_EVERY_S)

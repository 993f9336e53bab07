"""A box that was off for 400 days, whose clock says 1970, comes back by itself."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.config import Config
from appliance.gateways.identity import Identity
from appliance.lan import LanParts
from appliance.places import files_in
from appliance.runtime.trusted_time import TrustedClock
from appliance.setup import until_enrolled
from appliance.wiring import Outside, open_inside
from tests.fakes.clock import OPENING, FakeClock
from tests.integration.identity.conftest import Chain, a_chain, a_config

LATER = OPENING + timedelta(days=400)
IN_1970 = datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC)


async def enrol(folder: Path, chain: Chain, clock: FakeClock) -> Config:
    claim_file = folder / "claim"
    await asyncio.to_thread(claim_file.write_text, await chain.claim())
    config = a_config(folder / "box", claim_file=claim_file)
    await asyncio.to_thread(config.state.mkdir)
    settled = await until_enrolled(config, clock, random.Random(1), asyncio.Event(), lambda _: None)
    assert settled is not None
    return config


@asynccontextmanager
async def inside(config: Config, clock: FakeClock) -> AsyncIterator[tuple[LanParts, TrustedClock]]:
    """The box without its LAN; its time is written down at the end, as at a stop."""
    time = await asyncio.to_thread(TrustedClock, clock, files_in(config).time_floor)
    async with open_inside(config, time, random.Random(2), Outside()) as parts:
        yield parts, time
    await asyncio.to_thread(time.save, at_stop=True)


def certified(config: Config) -> tuple[datetime, datetime]:
    lasts = Identity(config.state).enrolment().lasts()
    assert lasts is not None
    return lasts


async def drained(parts: LanParts, clock: FakeClock) -> None:
    def done() -> bool:
        status = parts.report.status()
        return status.state == "online" and status.journal.backlog == 0

    await clock.run_until(
        done, within_s=86_400.0
    )  # of the fake clock, which runs ahead of bytes on their way


async def test_a_box_off_for_400_days_with_a_clock_at_1970_rejoins_without_a_visit(tmp_path: Path) -> None:
    clock = FakeClock()
    async with a_chain(tmp_path / "cloud", clock) as chain:
        config = await enrol(tmp_path, chain, clock)
        async with inside(config, clock) as (parts, _):
            await drained(parts, clock)
    assert (await asyncio.to_thread(certified, config))[1] < LATER

    async with a_chain(tmp_path / "cloud", FakeClock(LATER)) as chain:
        moved = a_config(config.state, url=chain.url)
        woken = FakeClock(IN_1970, 3.0, quality="unknown", boot="boot-2")
        async with inside(moved, woken) as (parts, time):
            await parts.journal.record("stopped", {})
            await drained(parts, woken)

            assert (await asyncio.to_thread(certified, config))[1] > LATER + timedelta(days=300)
            assert timedelta() <= time.now() - LATER < timedelta(days=2)
            assert time.reading().quality == "unknown"

            woken.set_wall(time.now())  # NTP got through
            time.confirm(time.now())
            assert time.reading().quality == "synced"

    # And the next start knows the year, whatever the clock says.
    floor = await asyncio.to_thread(
        TrustedClock, FakeClock(IN_1970, quality="unknown"), files_in(config).time_floor
    )
    assert floor.now() >= LATER


@pytest.mark.parametrize("years", [-50, -1, 1, 50])
async def test_a_wrong_wall_clock_alone_never_keeps_a_box_from_head_office(
    tmp_path: Path, years: int
) -> None:
    truth = FakeClock()
    wrong = FakeClock(OPENING + timedelta(days=365 * years), 3.0, quality="unknown" if years < 0 else "floor")
    async with a_chain(tmp_path / "cloud", truth) as chain:
        config = await enrol(tmp_path, chain, wrong)
        async with inside(config, wrong) as (parts, _):
            await drained(parts, wrong)


async def test_a_certificate_is_renewed_at_half_of_its_life(tmp_path: Path) -> None:
    clock = FakeClock()
    async with a_chain(tmp_path / "cloud", clock) as chain:
        config = await enrol(tmp_path, chain, clock)
    for days, renewed in ((140, False), (225, True)):
        now = FakeClock(OPENING + timedelta(days=days))
        async with a_chain(tmp_path / "cloud", now) as chain:
            box = FakeClock(OPENING + timedelta(days=days))
            async with inside(a_config(config.state, url=chain.url), box) as (parts, _):
                await drained(parts, box)
                await box.advance(120.0)
        begins, _ = await asyncio.to_thread(certified, config)
        assert (begins > OPENING + timedelta(days=200)) == renewed

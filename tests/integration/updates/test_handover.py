"""When the daemon asks the root units to install and to restart: at quiet moments, and once."""

import asyncio
from datetime import UTC, datetime

from appliance.domain.update import Request
from appliance.services.handover import AGAIN_S
from tests.integration.updates.conftest import IDLE_S, Box


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
    # At it before the daemon looks: a daemon that looks first asks for it, as in the test above.
    async with box.at_work(), box.running():
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

"""A name that another takes long after it was ours: python-zeroconf notices only one that was there before."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import pytest
from zeroconf import ServiceStateChange
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from appliance.gateways.mdns import RENAME_EVERY_S, SERVICE, Announcer, Profile
from appliance.gateways.mdns_conflict import ConflictWatch
from tests.fakes.clock import FakeClock
from tests.integration.mdns.test_announcer import LOOPBACK, Till, a_profile

LOW, HIGH = "sb-" + "0" * 16, "sb-" + "z" * 16


@pytest.fixture
async def till() -> AsyncIterator[Till]:
    async with AsyncZeroconf(interfaces=LOOPBACK) as zeroconf:
        yield Till(zeroconf)


@asynccontextmanager
async def claimed(name: str, host: str, properties: dict[str, str]) -> AsyncIterator[AsyncZeroconf]:
    """The name, taken without asking, as when two halves of a network are joined."""
    async with AsyncZeroconf(interfaces=LOOPBACK) as zeroconf:
        await zeroconf.zeroconf.async_wait_for_start()
        info = AsyncServiceInfo(
            SERVICE,
            name,
            addresses=[socket.inet_aton("127.0.0.1")],
            port=9,
            properties=properties,
            server=host,
        )
        await (await zeroconf.async_register_service(info, cooperating_responders=True))
        yield zeroconf


def name(profile: Profile, number: int = 1) -> str:
    return f"{profile.instance(number)}.{SERVICE}"


async def goes_on(clock: FakeClock, waiting: Awaitable[object]) -> None:
    """Let time go on until that has happened."""
    task = asyncio.ensure_future(waiting)
    while not task.done():
        await clock.advance(1.0)
        await asyncio.wait([task], timeout=0.05)
    await task


@pytest.mark.parametrize(
    ("host", "properties"),
    [("printer.local.", {}), (f"{LOW}.local.", {"id": LOW})],
    ids=["something else", "a box with a lower id"],
)
async def test_a_box_whose_name_is_taken_later_takes_the_next_one(
    till: Till, host: str, properties: dict[str, str]
) -> None:
    profile, clock = a_profile("Brest"), FakeClock()
    async with Announcer(profile, clock, interfaces=LOOPBACK) as announcer:
        await till.hears(name(profile), ServiceStateChange.Added)
        assert not announcer.conflict

        async with claimed(name(profile), host, properties):
            await goes_on(clock, till.hears(name(profile, 2), ServiceStateChange.Added))
            assert announcer.conflict
            assert (await till.resolve(name(profile, 2))).decoded_properties["id"] == profile.box


async def test_a_box_with_the_lower_id_keeps_its_name_and_says_it_again(till: Till) -> None:
    profile, clock = a_profile("Brest"), FakeClock()
    async with Announcer(profile, clock, interfaces=LOOPBACK) as announcer:
        await till.hears(name(profile), ServiceStateChange.Added)
        async with claimed(name(profile), f"{HIGH}.local.", {"id": HIGH}) as rival:
            said = asyncio.Event()
            # What the rival hears of us is what we say against it.
            watch = ConflictWatch(name(profile), HIGH, lambda heard: said.set() if heard.box else None)
            rival.zeroconf.async_add_listener(watch, None)

            await goes_on(clock, asyncio.wait_for(said.wait(), 10))

            assert not announcer.conflict


async def test_its_own_words_that_a_reflector_repeats_are_no_conflict(till: Till) -> None:
    profile, clock = a_profile("Brest"), FakeClock()
    async with Announcer(profile, clock, interfaces=LOOPBACK) as announcer:
        await till.hears(name(profile), ServiceStateChange.Added)

        async with claimed(name(profile), f"{profile.box}.local.", {"id": profile.box}):
            await till.hears(name(profile), ServiceStateChange.Updated)
            await clock.advance(RENAME_EVERY_S)
            assert not announcer.conflict


async def test_a_box_that_speaks_tls_says_so() -> None:
    profile = a_profile()._replace(tls=True)

    assert profile.txt("online") | {"tls": "1", "txtvers": "1"} == profile.txt("online")
    assert "tls" not in a_profile().txt("online")


async def test_whoever_asked_hears_the_addresses_and_their_changes() -> None:
    heard: list[tuple[str, ...]] = []
    async with Announcer(
        a_profile(), FakeClock(), interfaces=LOOPBACK, moved=lambda now: heard.append(tuple(now))
    ) as announcer:
        await announcer.announced()

    assert heard == [("127.0.0.1",)]

"""What tills hear of the box, over real multicast on the loopback interface."""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator

import psutil
import pytest
from zeroconf import ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from appliance.gateways.mdns import CHANGE_EVERY_S, SERVICE, TXT_BYTES_MAX, Announcer, Profile, look_around
from tests.fakes.clock import FakeClock

LOOPBACK = ["127.0.0.1"]


def a_profile(shop: str = "Lyon Part-Dieu") -> Profile:
    """A box of its own: other tests may announce on the same loopback at the same time."""
    return Profile(f"sb-{secrets.token_hex(8)}", shop, "f" * 43, 8480)


class Till:
    """Browses for boxes and keeps all that it hears of each instance."""

    def __init__(self, zeroconf: AsyncZeroconf) -> None:
        self.zeroconf = zeroconf
        self.heard: defaultdict[str, list[ServiceStateChange]] = defaultdict(list)
        self._news = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self._browser = AsyncServiceBrowser(zeroconf.zeroconf, SERVICE, handlers=[self._hear])

    def _hear(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        self.heard[name].append(state_change)
        task = asyncio.create_task(self._notify())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _notify(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def hears(self, name: str, change: ServiceStateChange) -> None:
        """Wait until the last thing heard of an instance is this."""
        async with asyncio.timeout(10), self._news:
            await self._news.wait_for(lambda: self.heard[name][-1:] == [change])

    async def resolve(self, name: str) -> AsyncServiceInfo:
        """All that is known of an instance."""
        info = await self.zeroconf.async_get_service_info(SERVICE, name)
        assert info is not None
        return info


@pytest.fixture
async def till() -> AsyncIterator[Till]:
    async with AsyncZeroconf(interfaces=LOOPBACK) as zeroconf:
        yield Till(zeroconf)


def name_of(profile: Profile) -> str:
    return f"{profile.instance()}.{SERVICE}"


async def test_a_till_finds_the_box_and_all_it_says_of_itself(till: Till) -> None:
    profile = a_profile()

    async with Announcer(profile, FakeClock(), interfaces=LOOPBACK, state="degraded"):
        await till.hears(name_of(profile), ServiceStateChange.Added)
        info = await till.resolve(name_of(profile))

    assert info.server == f"{profile.box}.local."
    assert info.port == 8480
    assert info.parsed_addresses() == ["127.0.0.1"]
    assert list(info.decoded_properties.items()) == [
        ("txtvers", "1"),
        ("id", profile.box),
        ("shop", "Lyon Part-Dieu"),
        ("api", "1"),
        ("fp", "f" * 43),
        ("st", "degraded"),
    ]


async def test_a_box_that_leaves_says_goodbye_within_a_second(till: Till) -> None:
    profile = a_profile()
    announcer = Announcer(profile, FakeClock(), interfaces=LOOPBACK)
    async with announcer:
        await till.hears(name_of(profile), ServiceStateChange.Added)
        left = asyncio.get_running_loop().time()

    assert asyncio.get_running_loop().time() - left < 1.0
    await till.hears(name_of(profile), ServiceStateChange.Removed)


async def test_a_swinging_state_is_told_at_most_every_ten_seconds_and_the_latest_wins(till: Till) -> None:
    profile, clock = a_profile(), FakeClock()
    async with Announcer(profile, clock, interfaces=LOOPBACK) as announcer:
        await announcer.announced()
        await till.hears(name_of(profile), ServiceStateChange.Added)

        announcer.set_state("online")
        announcer.set_state("degraded")
        await clock.advance(CHANGE_EVERY_S - 0.1)
        assert till.heard[name_of(profile)] == [ServiceStateChange.Added]
        announcer.set_state("online")
        await clock.advance(0.1)
        await till.hears(name_of(profile), ServiceStateChange.Updated)

        assert (await till.resolve(name_of(profile))).decoded_properties["st"] == "online"


async def test_a_state_that_came_back_to_what_was_told_is_not_told_again(till: Till) -> None:
    profile, clock = a_profile(), FakeClock()
    async with Announcer(profile, clock, interfaces=LOOPBACK, state="online") as announcer:
        await announcer.announced()
        await till.hears(name_of(profile), ServiceStateChange.Added)

        announcer.set_state("offline")
        await clock.advance(1.0)
        announcer.set_state("online")
        await clock.advance(60.0)

    await till.hears(name_of(profile), ServiceStateChange.Removed)
    assert till.heard[name_of(profile)] == [ServiceStateChange.Added, ServiceStateChange.Removed]


async def test_a_box_without_the_chosen_address_waits_for_it_and_leaves_when_told() -> None:
    clock = FakeClock()

    async with Announcer(a_profile(), clock, interfaces=["203.0.113.7"]) as announcer:
        waiting = asyncio.create_task(announcer.announced())
        await clock.advance(120.0)

        assert not waiting.done()
        waiting.cancel()


def test_the_name_is_one_label_however_long_or_odd_the_shop_is_called() -> None:
    for shop in ("Saint-Étienne-du-Rouvray " * 5, "é" * 63, "a.b.c", "line\nfeed", ""):
        for number in (1, 2, 100):
            name = a_profile(shop).instance(number)
            assert len(name.encode()) <= 63
            assert name.startswith("Storebox")
            assert "." not in name
            assert name.isprintable()


def test_the_txt_record_fits_and_only_the_shop_is_cut() -> None:
    profile = a_profile("é" * 500)

    record = profile.txt("degraded")

    assert list(record) == ["txtvers", "id", "shop", "api", "fp", "st"]
    assert sum(1 + len(f"{key}={value}".encode()) for key, value in record.items()) <= TXT_BYTES_MAX
    assert (record["id"], record["fp"]) == (profile.box, profile.fingerprint)
    assert len(record["shop"]) >= 100


def test_by_default_every_address_but_loopback_is_told() -> None:
    addresses = look_around([]).addresses

    known = {entry.address for entries in psutil.net_if_addrs().values() for entry in entries}
    assert set(addresses) <= {address.partition("%")[0] for address in known}
    assert not {"127.0.0.1", "::1"} & set(addresses)


def test_loopback_is_told_when_it_is_chosen() -> None:
    assert look_around(["127.0.0.1"]).addresses == ("127.0.0.1",)

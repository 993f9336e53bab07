"""Let tills find the box: DNS-SD over mDNS (RFC 6763, RFC 6762), as docs/PROTOCOL.md says.

Only a hint, and never in the way: whatever goes wrong here is logged and tried again, and the box sells all the same.
Addresses come and go (DHCP answers after the box has started, a cable moves), so they are looked at again and again.
"""

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import NamedTuple, Self

import psutil
from zeroconf import Error as ZeroconfError
from zeroconf import IPVersion, NonUniqueNameException
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from appliance.gateways.mdns_conflict import ConflictWatch, Rival
from appliance.gateways.netlink import network_changes
from appliance.runtime.clock import Clock
from appliance.runtime.pause import pause

log = logging.getLogger(__name__)

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

SERVICE = "_storebox._tcp.local."
# One DNS label (RFC 1035 2.3.4), one entry of a TXT record, and a whole one that fits a packet (RFC 6763 6.1, 6.2).
LABEL_BYTES_MAX, TXT_ENTRY_BYTES_MAX, TXT_BYTES_MAX = 63, 255, 400
# Every change is a multicast to the whole shop; a state that swings is told at most this often, the latest one.
CHANGE_EVERY_S = 10.0
# How soon a new address is noticed when the kernel does not tell.
LOOK_EVERY_S = 10.0
# A name that changes faster helps nobody: tills know the box by its id.
RENAME_EVERY_S = 60.0
RETRY_S = 30.0
# Three goodbyes an eighth of a second apart, and some room; the service manager does not wait for ever.
GOODBYE_S = 1.0


class Profile(NamedTuple):
    """What the box says of itself on the LAN and never changes while it runs."""

    box: str
    shop: str
    fingerprint: str
    port: int
    tls: bool = False

    def instance(self, number: int = 1) -> str:
        """The name people see; from the second on, for when another holds the name, with a number."""
        tail = f" {self.box[-4:]}" + (f" ({number})" if number > 1 else "")
        # A dot would end the label, and the name is one label.
        shop = "".join(sign if sign.isprintable() and sign != "." else " " for sign in self.shop)
        return _cut(f"Storebox {shop}", LABEL_BYTES_MAX - len(tail.encode())).rstrip() + tail

    def txt(self, state: str) -> dict[str, str]:
        """The TXT record's keys, in their order; only the shop's name may be too long, and is cut."""
        record = {
            "txtvers": "1",
            "id": self.box,
            "shop": "",
            "api": "1",
            "fp": self.fingerprint,
            "st": state,
        } | ({"tls": "1"} if self.tls else {})
        # On the wire each entry has a byte for its length before it.
        taken = sum(1 + len(f"{key}={value}".encode()) for key, value in record.items())
        record["shop"] = _cut(self.shop, min(TXT_ENTRY_BYTES_MAX - len("shop="), TXT_BYTES_MAX - taken))
        return record


class Place(NamedTuple):
    """Where the box can be found: sockets to speak from (addresses; an IPv6 one by its interface), and addresses."""

    interfaces: tuple[str | int, ...]
    addresses: tuple[str, ...]

    @property
    def versions(self) -> IPVersion:
        """The IP versions spoken."""
        return IPVersion.All if any(isinstance(i, int) for i in self.interfaces) else IPVersion.V4Only


class _Told(NamedTuple):
    """What an announcement says beside the profile; `defences` counts how often it was repeated against a rival."""

    place: Place
    state: str
    number: int
    defences: int


class Announcer:
    """Announces the box while inside. Entering does not wait for the network; `announced` does."""

    def __init__(
        self,
        profile: Profile,
        clock: Clock,
        *,
        interfaces: Sequence[str] = (),
        reaches: Callable[[str], bool] = lambda _address: True,
        state: str = "offline",
        moved: Callable[[Sequence[str]], None] = lambda _addresses: None,
    ) -> None:
        """`interfaces` are addresses of this machine; none means all but loopback. Where the box does not listen
        (`reaches`) is told to nobody.

        `moved` hears the addresses, at first and whenever they have changed.
        """
        self._profile = profile
        self._clock = clock
        self._chosen, self._reaches = interfaces, reaches
        self._state = state
        self._moved = moved
        self._addresses: tuple[str, ...] | None = None
        self._wake = asyncio.Event()
        self._announced = asyncio.Event()
        self._zeroconf: AsyncZeroconf | None = None
        self._task: asyncio.Task[None] | None = None
        self._number, self._defences = 1, 0
        self._renamed_s: float | None = None

    def set_state(self, state: str) -> None:
        """Announce this state of the link, soon: at most every 10 s, the latest wins."""
        self._state = state
        self._wake.set()

    @property
    def conflict(self) -> bool:
        """Whether another holds the name that people would look for this box under."""
        return self._number > 1

    async def announced(self) -> None:
        """Wait until the box has been announced."""
        await self._announced.wait()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="mdns")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._say_goodbye()

    async def _run(self) -> None:
        with network_changes(self._wake.set):
            while True:
                try:
                    await self._announce()
                except Exception:
                    # Even a bug: a box that is hard to find still sells to the tills that know its address.
                    log.exception("mdns.failed", extra={"retry_s": RETRY_S})
                await self._say_goodbye()
                await self._clock.sleep(RETRY_S)

    async def _announce(self) -> None:
        """Announce, and keep what is announced true, until something fails."""
        self._number = 1
        while not (truth := self._truth()).place.interfaces:
            await pause(self._clock, LOOK_EVERY_S, self._wake)
        zeroconf = self._zeroconf = AsyncZeroconf(
            interfaces=list(truth.place.interfaces), ip_version=truth.place.versions
        )
        while True:
            told, watch = await self._register(zeroconf, truth)
            self._announced.set()
            try:
                while (truth := await self._changed(zeroconf, told)).number == told.number:
                    await self._update(zeroconf, truth)
                    told = truth
            finally:
                zeroconf.zeroconf.async_remove_listener(watch)
            await (await zeroconf.async_unregister_service(self._info(told)))

    def _truth(self) -> _Told:
        place = look_around(self._chosen, self._reaches)
        if place.addresses != self._addresses:
            self._addresses = place.addresses
            self._moved(place.addresses)
        return _Told(place, self._state, self._number, self._defences)

    def _rivalled(self, rival: Rival) -> None:
        """Somebody speaks under our name: say it again when it is ours by right, else take the next one."""
        now_s = self._clock.monotonic()
        if rival.yields_to(self._profile.box):
            self._defences += 1
        elif self._renamed_s is None or now_s - self._renamed_s >= RENAME_EVERY_S:
            self._renamed_s = now_s
            self._number += 1
            log.warning("mdns.name_conflict", extra={"rival": rival.box or rival.host})
        self._wake.set()

    async def _changed(self, zeroconf: AsyncZeroconf, told: _Told) -> _Told:
        """Wait until something else than this is true, but at least as long as it must stand; the latest truth."""
        due_s = self._clock.monotonic() + CHANGE_EVERY_S
        while (latest := self._truth()) == told or self._clock.monotonic() < due_s:
            if latest == told:
                # A new IPv6 address takes a second until it may be used (RFC 4862 5.4): sockets come later than it.
                await zeroconf.async_update_interfaces(list(told.place.interfaces), told.place.versions)
                await pause(self._clock, LOOK_EVERY_S, self._wake)
            else:
                await pause(self._clock, due_s - self._clock.monotonic(), self._wake)
        return latest

    async def _register(self, zeroconf: AsyncZeroconf, truth: _Told) -> tuple[_Told, ConflictWatch]:
        """Claim a name, the next one if another holds it; returns what was told, once announced, and its watch."""
        while True:
            info = self._info(truth)
            try:
                announcing = await zeroconf.async_register_service(info)
            except NonUniqueNameException:
                log.warning("mdns.name_taken", extra={"instance": info.name})
                self._number = truth.number + 1
                truth = truth._replace(number=self._number)
                continue
            # It is ours from here on.
            watch = ConflictWatch(info.name, self._profile.box, self._rivalled)
            zeroconf.zeroconf.async_add_listener(watch, None)
            await announcing
            log.info("mdns.announced", extra={"instance": info.name, "addresses": truth.place.addresses})
            return truth, watch

    async def _update(self, zeroconf: AsyncZeroconf, truth: _Told) -> None:
        await zeroconf.async_update_interfaces(list(truth.place.interfaces), truth.place.versions)
        await (await zeroconf.async_update_service(self._info(truth)))

    def _info(self, truth: _Told) -> AsyncServiceInfo:
        return AsyncServiceInfo(
            SERVICE,
            f"{self._profile.instance(truth.number)}.{SERVICE}",
            port=self._profile.port,
            properties=self._profile.txt(truth.state),
            server=f"{self._profile.box}.local.",
            parsed_addresses=list(truth.place.addresses),
        )

    async def _say_goodbye(self) -> None:
        if self._zeroconf is None:
            return
        zeroconf, self._zeroconf = self._zeroconf, None
        try:
            async with asyncio.timeout(GOODBYE_S):
                await zeroconf.async_close()
        except (OSError, RuntimeError, ZeroconfError) as error:  # a TimeoutError is an OSError
            log.warning("mdns.no_goodbye", extra={"why": repr(error)})


def look_around(chosen: Iterable[str], reaches: Callable[[str], bool] = lambda _address: True) -> Place:
    """Where this machine can be found right now: by the chosen addresses that it has, or by all but loopback.

    Only such as `reaches` lets pass. Link-local IPv6 addresses are told only when there are no others: who hears of
    one does not know its scope.
    """
    wanted = {ipaddress.ip_address(address) for address in chosen}
    stats = psutil.net_if_stats()
    interfaces: list[str | int] = []
    told: list[IpAddress] = []
    for name, entries in sorted(psutil.net_if_addrs().items()):
        if name not in stats or not stats[name].isup:
            continue
        own = [
            ipaddress.ip_address(entry.address.partition("%")[0])
            for entry in entries
            if entry.family in (socket.AF_INET, socket.AF_INET6)
        ]
        own = [address for address in own if (address in wanted if wanted else not address.is_loopback)]
        own = [address for address in own if reaches(str(address))]
        interfaces += [str(address) for address in own if address.version == 4]
        if any(address.version == 6 for address in own):
            interfaces.append(socket.if_nametoindex(name))
        told += own
    routable = [address for address in told if not (address.version == 6 and address.is_link_local)]
    return Place(tuple(interfaces), tuple(str(address) for address in routable or told))


def _cut(text: str, bytes_max: int) -> str:
    """As much of the text as fits, without half a character at its end."""
    return text.encode()[:bytes_max].decode(errors="ignore")

"""Find boxes on the LAN by mDNS (RFC 6762, RFC 6763). What is found is a hint; `till/pin.py` decides whom to trust.

Each search begins with an empty cache: after a crash the old address would live on in one for two minutes.
"""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import msgspec
import psutil
from zeroconf import InterfaceChoice, IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

SERVICE_TYPE = "_storebox._tcp.local."
# Browsing gives names; asking one for its address and texts takes a round trip, repeated when packets are lost.
RESOLVE_S = 3.0
# More answers than this in one search are no shop's boxes.
FOUND_MAX = 256


class Found(msgspec.Struct, frozen=True):
    """A box that announced itself: its TXT keys, and where it says it listens."""

    box: str
    shop: str
    name: str
    api: str
    fp: str
    state: str
    addresses: list[str]
    port: int
    tls: bool = False

    @property
    def places(self) -> list[str]:
        """host:port, in the order to try them."""
        return [f"{f'[{a}]' if ':' in a else a}:{self.port}" for a in self.addresses]

    @property
    def urls(self) -> list[str]:
        """Base URLs to try, in order."""
        return [f"{'https' if self.tls else 'http'}://{place}" for place in self.places]


@asynccontextmanager
async def browsing(interfaces: Sequence[str] = ()) -> AsyncIterator[asyncio.Queue[Found]]:
    """Boxes as they answer, each again when it changes, for as long as the block lasts.

    `interfaces` are addresses of this machine to search on; none: all of them. Raises OSError when one is not ours.
    """
    for address in interfaces:
        _check_ours(address)
    queue: asyncio.Queue[Found] = asyncio.Queue(FOUND_MAX)
    zeroconf = _zeroconf(interfaces)
    resolving: dict[str, asyncio.Task[None]] = {}

    async def resolve(name: str) -> None:
        info = AsyncServiceInfo(SERVICE_TYPE, name)
        if (
            await info.async_request(zeroconf.zeroconf, RESOLVE_S * 1000)
            and (found := read(info)) is not None
        ):
            with suppress(asyncio.QueueFull):
                queue.put_nowait(found)

    def changed(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:  # noqa: ARG001
        if state_change is ServiceStateChange.Removed or len(resolving) >= FOUND_MAX:
            return
        if name in resolving and not resolving[name].done():
            return
        resolving[name] = asyncio.create_task(resolve(name), name=f"resolve-{name}")

    browser = AsyncServiceBrowser(zeroconf.zeroconf, SERVICE_TYPE, handlers=[changed])
    try:
        yield queue
    finally:
        await browser.async_cancel()
        for task in resolving.values():
            task.cancel()
        await asyncio.gather(*resolving.values(), return_exceptions=True)
        await zeroconf.async_close()


async def search(seconds: float, interfaces: Sequence[str] = ()) -> list[Found]:
    """Every box that answers within that time, by its id; of one that answers twice, the latest."""
    found: dict[str, Found] = {}
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds), browsing(interfaces) as boxes:
            while True:
                box = await boxes.get()
                found[box.box] = box
    return [found[box] for box in sorted(found)]


def read(info: AsyncServiceInfo) -> Found | None:
    """What an announcement says; None when it lacks what makes a box."""
    texts = {
        key.decode(errors="replace"): value for key, value in info.properties.items() if value is not None
    }
    told = {key: value.decode(errors="replace") for key, value in texts.items()}
    addresses = info.parsed_scoped_addresses()
    if not told.get("id") or not told.get("fp") or info.port is None or not addresses:
        return None
    return Found(
        box=told["id"],
        shop=told.get("shop", ""),
        name=info.name.removesuffix(f".{SERVICE_TYPE}"),
        api=told.get("api", ""),
        fp=told["fp"],
        state=told.get("st", ""),
        addresses=addresses,
        port=info.port,
        tls=told.get("tls") == "1",
    )


def _zeroconf(interfaces: Sequence[str]) -> AsyncZeroconf:
    """On the chosen addresses, or on all, of both versions of IP where this machine has both."""
    if interfaces:
        return AsyncZeroconf(interfaces=list(interfaces))
    everywhere = _everywhere()
    if not any(isinstance(interface, int) for interface in everywhere):
        return AsyncZeroconf(interfaces=InterfaceChoice.All)
    try:
        return AsyncZeroconf(interfaces=everywhere, ip_version=IPVersion.All)
    except OSError:
        return AsyncZeroconf(interfaces=InterfaceChoice.All)


def _everywhere() -> list[str | int]:
    """IPv4 addresses, and IPv6 interfaces but loopback, where nothing can be sent to a group."""
    found: list[str | int] = []
    for name, entries in sorted(psutil.net_if_addrs().items()):
        found += [entry.address for entry in entries if entry.family == socket.AF_INET]
        v6 = [entry.address for entry in entries if entry.family == socket.AF_INET6]
        if any(not ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in v6):
            found.append(socket.if_nametoindex(name))
    return found


def _check_ours(address: str) -> None:
    """Raise OSError early and cleanly: zeroconf leaves a socket open when it cannot join on an address."""
    try:
        version = ipaddress.ip_address(address).version
    except ValueError as error:
        raise OSError(str(error)) from error
    if version == 4:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))

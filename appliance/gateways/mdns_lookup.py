"""Ask the LAN for a box by mDNS, as a till does."""

import asyncio

from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from appliance.domain.errors import NotFound
from appliance.gateways.mdns import SERVICE, Place

ANSWER_MS = 2_000


async def look_up(box: str, place: Place, within_s: float) -> None:
    """Return once a box of this id has answered, on these interfaces. Raises NotFound, OSError."""
    names: asyncio.Queue[str] = asyncio.Queue()

    def heard(name: str, **_change: object) -> None:
        names.put_nowait(name)

    async with AsyncZeroconf(interfaces=list(place.interfaces), ip_version=place.versions) as lan:
        browser = AsyncServiceBrowser(lan.zeroconf, SERVICE, handlers=[heard])
        try:
            async with asyncio.timeout(within_s):
                while True:
                    info = AsyncServiceInfo(SERVICE, await names.get())
                    await info.async_request(lan.zeroconf, ANSWER_MS)
                    if info.properties.get(b"id") == box.encode():
                        return
        except TimeoutError as error:
            raise NotFound(f"no {box} answers by mDNS") from error
        finally:
            await browser.async_cancel()

"""Finding boxes by mDNS on loopback, with a real responder."""

import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from zeroconf import ServiceInfo
from zeroconf.asyncio import AsyncZeroconf

from appliance.runtime.supervision import supervised
from tests.fakes.clock import FakeClock
from tests.fakes.tasks import until
from tests.fakes.till_box import FakeBox
from tests.fakes.till_peers import TOKEN
from tests.fakes.tills import Told, a_basket
from till.discovery import SERVICE_TYPE, Found, browsing, search
from till.options import Options
from till.report import Connected, Disconnected, Discovered, Sold
from till.wiring import open_till

LOOPBACK = ["127.0.0.1"]


@asynccontextmanager
async def announced(box: FakeBox, port: int, **texts: str) -> AsyncIterator[None]:
    """The box as its own announcement tells of it."""
    properties = {
        "txtvers": "1",
        "id": box.id,
        "shop": "shop-1",
        "api": "1",
        "fp": box.signer.key_id,
        "st": "online",
    }
    info = ServiceInfo(
        SERVICE_TYPE,
        f"Storebox shop-1 {box.id[-4:]}.{SERVICE_TYPE}",
        addresses=[socket.inet_aton("127.0.0.1")],
        port=port,
        properties=properties | texts,
        server=f"{box.id}.local.",
    )
    zeroconf = AsyncZeroconf(interfaces=LOOPBACK)
    try:
        await zeroconf.zeroconf.async_wait_for_start()
        # No probing for the name: nobody else has it, and the probes take a second.
        announcing = await zeroconf.async_register_service(info, cooperating_responders=True)
        yield
        await announcing
    finally:
        await zeroconf.async_unregister_all_services()
        await zeroconf.async_close()


async def test_a_box_is_found_with_all_that_it_announces() -> None:
    box = FakeBox()
    async with announced(box, 8480), browsing(LOOPBACK) as boxes:
        found = await boxes.get()

    assert found == Found(
        box=box.id,
        shop="shop-1",
        name=f"Storebox shop-1 {box.id[-4:]}",
        api="1",
        fp=box.signer.key_id,
        state="online",
        addresses=["127.0.0.1"],
        port=8480,
    )
    assert found.urls == ["http://127.0.0.1:8480"]


async def test_what_announces_itself_without_an_id_is_no_box() -> None:
    box, nameless = FakeBox(seed=1), FakeBox(seed=2)
    async with announced(nameless, 1, id=""), announced(box, 8480), browsing(LOOPBACK) as boxes:
        assert (await boxes.get()).box == box.id
        assert boxes.empty()


async def test_a_search_ends_by_itself_when_there_is_nobody() -> None:
    assert await search(0.2, LOOPBACK) == []


@pytest.mark.parametrize("address", ["192.0.2.1", "eth0"])
async def test_an_interface_that_is_not_ours_is_an_error(address: str) -> None:
    with pytest.raises(OSError, match=r"assign requested address|does not appear"):
        await search(0.2, [address])


@pytest.mark.slow
async def test_a_box_that_comes_back_elsewhere_is_found_again(tmp_path: Path) -> None:
    box, told, clock, rng = FakeBox(), Told(), FakeClock(), random.Random(7)
    options = Options(state=tmp_path, till_id="till-1", box_token=TOKEN, interfaces=LOOPBACK)
    async with open_till(options, told.append, clock, rng) as till, supervised(till.services, clock, rng):
        async with box.serving() as port, announced(box, port):
            await told.wait(Connected)
        await told.wait(Disconnected)
        async with box.serving() as other_port, announced(box, other_port):
            await clock.run_until(lambda: clock.sleeping == 0 or box.listeners)
            await until(lambda: box.listeners)
            sold = await till.selling.sell(a_basket())

    assert [line.port for line in told.of(Discovered)] == [port, other_port]
    assert isinstance(sold, Sold)
    assert sold.status == "accepted"

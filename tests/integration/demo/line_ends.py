"""A line on real sockets, with both its ends in the hands of a test: the shop's and head office's."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from demo.line import Line, open_line
from tests.fakes.clock import FakeClock

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Office:
    """Head office's end: every connection that arrives, in order."""

    def __init__(self) -> None:
        self.arrived: asyncio.Queue[Ends] = asyncio.Queue()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.arrived.put((reader, writer))


@asynccontextmanager
async def a_desk(clock: FakeClock | None = None) -> AsyncIterator[tuple[Line, Office]]:
    office = Office()
    server = await asyncio.start_server(office.take, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        async with open_line((host, port), clock or FakeClock(), random.Random(1)) as line:
            yield line, office
    finally:
        server.close()
        while not office.arrived.empty():
            office.arrived.get_nowait()[1].close()


async def connect(line: Line) -> Ends:
    host, port = line.url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def connected(line: Line, office: Office) -> tuple[Ends, Ends]:
    shop = await connect(line)
    return shop, await office.arrived.get()


async def is_reset(reader: asyncio.StreamReader) -> bool:
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    return True

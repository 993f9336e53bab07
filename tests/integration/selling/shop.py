"""A till's way into a box whose journal and catalogue are on disk."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from appliance.domain import event as chain
from appliance.runtime.database import open_reader
from appliance.services.gate import Gate
from appliance.services.operations import Operations
from appliance.services.selling import Selling
from appliance.services.wan import WanWatch
from appliance.storage import journal_tables as tables
from appliance.storage.journal import Journal
from appliance.storage.mirror import Mirror, open_mirror
from appliance.storage.policies import Policies
from tests.fakes.catalogue import a_transfer, an_article
from tests.fakes.clock import FakeClock
from tests.fakes.cloud import FakeCloud
from tests.fakes.journals import BOX, KEYS, a_journal
from tests.fakes.sales import a_sale


@dataclass
class Shop:
    folder: Path
    journal: Journal
    mirror: Mirror
    selling: Selling

    async def sell(self, number: int, **fields: Any) -> list[str]:
        """One more sale of till-1, under an id of its own; its flags as acked."""
        ack, known = await self.selling.accept(a_sale(ticket_number=number, **fields), "till-1")
        assert not known
        return ack.flags

    async def catalogue(self, version: int, *prices: int) -> None:
        articles = [an_article(number, price_minor=price) for number, price in enumerate(prices, 1)]
        await self.mirror.apply(a_transfer(self.folder / "incoming", version, articles))

    def flags_in_the_chain(self) -> list[list[str]]:
        reader = open_reader(self.folder / "journal.db")
        try:
            events = [chain.content(row.body) for row in tables.events(reader, 0)]
        finally:
            reader.close()
        return [msgspec.json.decode(event.data)["flags"] for event in events if event.kind == "sale"]

    def written_through(self) -> int:
        reader = open_reader(self.folder / "journal.db")
        try:
            (place,) = reader.execute("SELECT through FROM ticket_book").fetchone()
        finally:
            reader.close()
        return tables.epoch_and_seq(place)[1]


@asynccontextmanager
async def a_shop(folder: Path) -> AsyncIterator[Shop]:
    clock = FakeClock()
    wan = WanWatch(clock, random.Random(1))
    cloud = FakeCloud(clock, BOX, KEYS)
    async with a_journal(folder, clock) as journal, open_mirror(folder / "mirror.db") as mirror:
        gate = Gate(Policies(mirror.writer), cloud.keys, wan)
        selling = Selling(journal, gate, Operations(gate, cloud, journal), BOX, mirror.prices)
        yield Shop(folder, journal, mirror, selling)

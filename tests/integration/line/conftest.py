"""A shop behind a faulty line: the box's real gateway, drain, mirror and heart, a till, and the real head office."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from appliance.domain.canonical import canonical
from appliance.domain.errors import CloudError, CloudRefused, Malformed, OutcomeUnknown, StoreboxError
from appliance.domain.link import PROOF_GAP_S, Cause
from appliance.domain.sale import Sale
from appliance.domain.wire import CloudSaleRow, OperationRequest
from appliance.gateways.cloud import CloudGateway, open_cloud
from appliance.gateways.host import MachineHost
from appliance.gateways.patience import Patience
from appliance.runtime.clock import SystemClock, rfc3339
from appliance.runtime.database import read_only_uri
from appliance.services.drain import Drain
from appliance.services.feed import Feed
from appliance.services.gate import Gate
from appliance.services.heartbeat import Heartbeater
from appliance.services.mirror import MirrorKeeper
from appliance.services.wan import WanWatch
from appliance.storage.commit import Sealer
from appliance.storage.journal import Journal, open_journal
from appliance.storage.mirror import Mirror, open_mirror
from appliance.storage.outgoing import open_outgoing
from appliance.storage.policies import Policies
from cloud import store_catalogue, store_operations
from cloud.wiring import open_office
from demo.line import Line, open_line
from tests.fakes.catalogue import an_article
from tests.fakes.clock import OPENING, FakeClock
from tests.fakes.journals import a_draft
from tests.fakes.notes import Notes
from tests.fakes.sales import a_sale, a_sale_id
from tests.fakes.statuses import a_status
from tests.integration.cloud.conftest import Enrolled, World, a_world
from till.cloud import Cloud
from till.errors import NoAnswer, Refused
from till.peer import open_session

# What loopback never needs, and a hanging line always: the price of a test is a few of these.
SILENCE_S = 0.12
PATIENCE = Patience(
    probe_s=SILENCE_S, call_s=SILENCE_S, connect_s=SILENCE_S, silence_s=SILENCE_S, transfer_s=2.0
)
# A fault strikes once, so two tries do; a machine that is busy with something else may be silent for longer.
TRIES_MAX = 60


@dataclass
class Shop:
    """What sends, what holds, and what should be held."""

    line: Line
    office: World
    box: Enrolled
    gateway: CloudGateway
    journal: Journal
    drain: Drain
    mirror: Mirror
    keeper: MirrorKeeper
    heart: Heartbeater
    till: Cloud
    nudges: list[int] = field(default_factory=list)
    by_box: list[str] = field(default_factory=list)
    sold: dict[str, bytes] = field(default_factory=dict)
    asked: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    version: int = 0
    tickets: int = 0

    # --- each kind of exchange, until it has worked

    async def batch(self) -> None:
        """Three sales through the journal and the drain."""
        for _ in range(3):
            sale = self._sale()
            self.by_box.append(sale.sale_id)
            await self.journal.append(a_draft(sale))
        await self._tries(self._drain_all)
        assert self.journal.synced() == {1: self.journal.end.seq}

    async def _drain_all(self) -> None:
        while await self.drain.step():
            """Batches are smaller after trouble, so it may take several."""

    async def probe(self) -> None:
        """A question that only head office can answer."""
        await self._tries(self.gateway.probe)

    async def catalogue(self) -> None:
        """A new version for the mirror: the first time a snapshot, then changes. Never half of one."""
        self.version += 1
        price_minor = self.version
        articles = [an_article(number, price_minor=price_minor) for number in range(1, 40)]
        await asyncio.to_thread(
            store_catalogue.publish,
            self.office.settings.database,
            articles,
            origin="head office",
            at=rfc3339(OPENING),
        )

        async def step() -> None:
            try:
                await self.keeper.step()
            finally:
                assert await self.mirror.verify()
                found = [self.mirror.by_id(article.article_id).articles for article in articles]
                assert {one.price_minor for held in found for one in held} <= {self.mirror.version}

        await self._tries(step)
        assert self.mirror.version == self.version

    async def operation(self) -> None:
        """What only head office may do; the same id however often it is asked."""
        request = OperationRequest(
            a_sale_id(), {"amount_minor": 1_250, "reason": f"cleaning {len(self.asked)}"}
        )
        self.asked[request.operation_id] = ("petty_cash_expense", canonical(request.data))
        await self._tries(lambda: self.gateway.operation("petty_cash_expense", request))

    async def sale(self) -> None:
        """A till's sale straight to head office."""
        sale = self._sale()
        await self._tries(lambda: self.till.sell(sale.sale_id, self.sold[sale.sale_id]))

    async def heartbeat(self) -> None:
        """How the box is."""

        async def step() -> None:
            before = len(self.nudges)
            await self.heart.step()
            if len(self.nudges) == before:
                raise CloudRefused("not heard", status=0)

        await self._tries(step)

    async def _tries(self, exchange: Callable[[], Awaitable[object]]) -> None:
        """Ask again and again, as box and till do; what only a person could mend fails the test."""
        for _ in range(TRIES_MAX):
            try:
                await exchange()
            except StoreboxError as error:
                if not _worth_another_try(error):
                    raise
            else:
                return
        raise AssertionError(f"not done after {TRIES_MAX} tries")

    # --- what must be true whatever the line did

    async def check(self) -> None:
        """Nothing lost, nothing doubled, nothing altered, nothing that nobody sent, nobody alarmed."""
        assert self.drain.stopped is None
        await self._check_chain()
        rows = [
            msgspec.convert(row, CloudSaleRow)
            for row in (await self.office.read("/v1/sales?limit=10000")).lines()
        ]
        assert {row.sale_id for row in rows} == set(self.sold)
        assert len(rows) == len(self.sold)
        digests = {sale_id: _sha256(body) for sale_id, body in self.sold.items()}
        assert {row.sale_id: row.sha256 for row in rows} == digests
        assert (await self.office.read("/v1/exceptions")).json() == []
        assert await self._done() == self.asked

    async def _check_chain(self) -> None:
        stored = await self.box.stored()
        assert self.journal.synced() == ({1: len(stored)} if stored else {})
        ids = [msgspec.json.decode(body)["data"].get("sale", {}).get("sale_id") for body in stored]
        assert [sale_id for sale_id in ids if sale_id] == self.by_box

    async def _done(self) -> dict[str, tuple[str, bytes]]:
        answers = (await self.office.read("/v1/operations?limit=10000")).lines()
        done = {}
        async with (
            open_office(self.office.settings, self.office.clock) as office,
            office.database.reading() as connection,
        ):
            for answer in answers:
                row = await store_operations.find(connection, answer["operation_id"])
                assert row is not None
                assert row.operation_id not in done
                done[row.operation_id] = (row.operation, row.data)
        return done

    def _sale(self) -> Sale:
        self.tickets += 1
        sale = a_sale(ticket_number=self.tickets)
        self.sold[sale.sale_id] = sale.encode()
        return sale


def _worth_another_try(error: StoreboxError) -> bool:
    if isinstance(error, Refused):
        return not error.final
    # Malformed: a transfer that was damaged on its way.
    return isinstance(error, CloudError | OutcomeUnknown | NoAnswer | Malformed)


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@asynccontextmanager
async def a_shop(folder: Path, rng: random.Random) -> AsyncIterator[Shop]:
    """The shop, online, its line without a fault. The line's own time is real: sockets wait for no fake clock."""
    clock, feed = FakeClock(), Feed()
    wan = WanWatch(clock, rng)
    async with a_world(folder / "cloud", FakeClock()) as office, _line_to(office, rng) as line:
        box = await office.enrolled(7)
        till_token = await office.till_token()
        async with (
            open_cloud(
                line.url,
                token=box.token,
                box=box.box.name,
                keys=box.cloud,
                clock=clock,
                observe=lambda *_sample, **_bulk: None,
                patience=PATIENCE,
            ) as gateway,
            open_journal(folder / "journal.db", Sealer(box.box.name, box.box.signer, clock)) as journal,
            open_outgoing(read_only_uri(folder / "journal.db")) as outgoing,
            open_mirror(folder / "mirror.db") as mirror,
            open_session(till_token) as session,
        ):
            await _go_online(wan, clock)
            nudges: list[int] = []
            gate = Gate(Policies(mirror.writer), box.cloud, wan)
            yield Shop(
                line,
                office,
                box,
                gateway,
                journal,
                Drain(journal, outgoing, gateway, wan, feed, box.cloud, clock, rng),
                mirror,
                MirrorKeeper(
                    mirror, gateway, feed, Notes(), clock, rng, folder / "incoming.zst", lambda: 600.0
                ),
                Heartbeater(
                    gateway,
                    box.box.signer,
                    wan,
                    gate,
                    MachineHost(folder),
                    lambda: a_status(box=box.box.name),
                    clock,
                    rng,
                    nudge_catalogue=nudges.append,
                    rest_s=lambda: 30.0,
                ),
                Cloud(session, line.url, total_s=SILENCE_S),
                nudges,
            )


@asynccontextmanager
async def _line_to(office: World, rng: random.Random) -> AsyncIterator[Line]:
    url = office.session._base_url
    assert url is not None
    assert url.host is not None
    assert url.port is not None
    clock = await asyncio.to_thread(SystemClock)  # it reads a file
    async with open_line((url.host, url.port), clock, rng) as line:
        yield line


async def _go_online(wan: WanWatch, clock: FakeClock) -> None:
    wan.observe(Cause.OK, 0.02)
    await clock.advance(PROOF_GAP_S)
    wan.observe(Cause.OK, 0.02)
    assert wan.link.online


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """The shop with a seed of its own."""
    async with a_shop(tmp_path, random.Random(1)) as shop:
        yield shop

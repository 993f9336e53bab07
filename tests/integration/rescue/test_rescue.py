"""A dead box's card: what can be read and proven comes to head office once, and what is missing is counted."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from appliance.domain import batch, event
from appliance.domain.dsse import spki_fingerprint
from appliance.domain.errors import CloudRefused
from appliance.domain.event import GENESIS, Position
from appliance.domain.sale import Sale
from appliance.domain.statements import HEAD_TYPE, Head, verify
from appliance.domain.wire import RescueAnswer, RescueView
from appliance.gateways.rescue import open_rescue
from appliance.runtime.keyfile import public_pem, read_public_pem
from appliance.services.export import export_to_folder
from appliance.services.rescue import RescueReport, box_of, rescue
from appliance.storage.archive import PublicKeys
from appliance.storage.commit import Sealer
from appliance.storage.journal import Journal, open_journal
from appliance.storage.journal_tables import place_of
from appliance.storage.pages import Pages
from appliance.storage.salvage import Card, read_card
from tests.fakes.clock import FakeClock
from tests.fakes.journals import BOX, KEYS, SIGNER, a_draft, a_journal, change_event
from tests.fakes.sales import a_trading_day
from tests.integration.cloud.conftest import Enrolled, World, a_world

PAGE = 4096


class Bag:
    """A head office that keeps whatever is proven, wherever it stands."""

    def __init__(self) -> None:
        self.bodies: dict[tuple[int, int], bytes] = {}

    async def look(self, box: str) -> RescueView:
        return RescueView(box, "S042", public_pem(SIGNER.public_key), [])

    async def send_rescued(self, box: str, packed: bytes) -> RescueAnswer:
        envelope, bodies = batch.unpack(packed)
        head = verify(envelope, HEAD_TYPE, Head, KEYS)
        first = event.read(bodies[0]).link
        before = Position(first.epoch, first.seq - 1, bytes.fromhex(first.prev))
        chain = list(event.walk(before, bodies, box=box))
        assert (chain[-1].link.seq, chain[-1].hash) == (head.seq, head.position.head)
        fresh = {(one.link.epoch, one.link.seq): one.body for one in chain}
        added = len(fresh.keys() - self.bodies.keys())
        self.bodies |= fresh
        return RescueAnswer(head.epoch, head.seq, added, loose=False)


async def sell(journal: Journal, rng: random.Random, sales: list[Sale]) -> None:
    while sales:
        group = [sales.pop() for _ in range(min(len(sales), rng.randint(1, 12)))]
        await asyncio.gather(*(journal.append(a_draft(sale)) for sale in group))


async def a_card(folder: Path, seed: int = 1, sales: int = 300) -> Path:
    rng = random.Random(seed)
    async with a_journal(folder) as journal:
        await sell(journal, rng, a_trading_day(rng, sales))
    return folder / "journal.db"


@asynccontextmanager
async def reading(path: Path, work: Path) -> AsyncIterator[Card]:
    stack = ExitStack()
    try:
        yield await asyncio.to_thread(stack.enter_context, read_card(path, work))
    finally:
        await asyncio.to_thread(stack.close)


async def rescued(path: Path, bag: Bag, work: Path) -> RescueReport:
    async with reading(path, work) as card:
        box = await asyncio.to_thread(box_of, card)
        return await rescue(card, await bag.look(box), KEYS, bag, lambda events: None)


@pytest.fixture
async def work(tmp_path: Path) -> AsyncIterator[Path]:
    """Where copies are made; empty again at the end."""
    folder = tmp_path / "work"
    await asyncio.to_thread(folder.mkdir)
    yield folder
    assert not await asyncio.to_thread(lambda: list(folder.iterdir()))


async def test_a_sound_card_is_recovered_whole_and_twice_adds_nothing(tmp_path: Path, work: Path) -> None:
    path, bag = await a_card(tmp_path), Bag()

    first = await rescued(path, bag, work)
    second = await rescued(path, bag, work)

    assert first == RescueReport(BOX, 301, 301, 0, False, [])
    assert second == RescueReport(BOX, 301, 0, 0, False, [])


async def test_what_still_stands_in_the_wal_is_recovered_too(tmp_path: Path, work: Path) -> None:
    bag = Bag()
    async with a_journal(tmp_path) as journal:
        rng = random.Random(1)
        await sell(journal, rng, a_trading_day(rng, 40))
        assert await asyncio.to_thread(lambda: (tmp_path / "journal.db-wal").stat().st_size) > 0

        report = await rescued(tmp_path / "journal.db", bag, work)

    assert (report.recovered, report.missing) == (41, 0)


def spoil(path: Path, pages: list[int], rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for page in pages:
        content[page * PAGE : (page + 1) * PAGE] = rng.randbytes(PAGE)
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("seed", range(20))
async def test_damaged_pages_cost_what_they_held_and_nothing_false_is_brought(
    tmp_path: Path, work: Path, seed: int
) -> None:
    rng = random.Random(seed)
    path = await a_card(tmp_path, seed)
    whole = Bag()
    await rescued(path, whole, work)
    count = await asyncio.to_thread(lambda: path.stat().st_size // PAGE)
    bad = rng.sample(range(count), rng.randint(1, 4))
    await asyncio.to_thread(spoil, path, bad, rng)
    bag = Bag()

    report = await rescued(path, bag, work)

    assert bag.bodies.items() <= whole.bodies.items()
    assert report.damaged
    assert report.recovered == len(bag.bodies)
    # Each row spans few pages, and each page holds few rows: a group of commits around each at most.
    assert report.recovered >= len(whole.bodies) - 60 * len(bad)


async def test_without_the_first_page_and_the_roots_the_rows_are_still_found(
    tmp_path: Path, work: Path
) -> None:
    path = await a_card(tmp_path)
    await asyncio.to_thread(spoil, path, [0], random.Random(1))

    report = await rescued(path, Bag(), work)

    assert (report.recovered, report.missing, report.damaged) == (301, 0, True)


async def test_a_changed_event_is_never_brought(tmp_path: Path, work: Path) -> None:
    path, bag = await a_card(tmp_path), Bag()
    await asyncio.to_thread(change_event, path, place_of(1, 150), b'"total_minor":', b'"total_minor":9')

    report = await rescued(path, bag, work)

    assert 1 <= report.missing <= 12  # the rest of its commit group before it has no signature any more
    assert report.recovered + report.missing == 301


async def test_what_the_head_file_knows_beyond_the_journal_is_missing(tmp_path: Path, work: Path) -> None:
    path = await a_card(tmp_path, sales=10)
    ahead = SIGNER.envelope(HEAD_TYPE, msgspec.json.encode(Head(BOX, 1, 20, GENESIS.hex())))
    await asyncio.to_thread((tmp_path / "head").write_bytes, ahead)

    report = await rescued(path.parent, Bag(), work)

    assert (report.recovered, report.missing) == (11, 9)


async def test_an_export_is_rescued_as_well(tmp_path: Path, work: Path) -> None:
    path = await a_card(tmp_path)
    pem = public_pem(SIGNER.public_key)
    await asyncio.to_thread(
        export_to_folder, path, tmp_path / "out", box=BOX, at="2026-11-22T08:30:00Z", keys=PublicKeys(pem)
    )

    report = await rescued(tmp_path / "out", Bag(), work)

    assert (report.recovered, report.missing) == (301, 0)


# --- with the real head office


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path / "cloud", FakeClock()) as world:
        yield world


async def a_dead_box(world: World, folder: Path, sales: int = 30) -> tuple[Enrolled, Path]:
    dead, rng = await world.enrolled(7), random.Random(3)
    await asyncio.to_thread(folder.mkdir)
    sealer = Sealer(dead.box.name, dead.box.signer, FakeClock())
    async with open_journal(folder / "journal.db", sealer) as journal:
        await sell(journal, rng, a_trading_day(rng, sales))
    return dead, folder / "journal.db"


async def bring(world: World, token: str, card: Path, work: Path) -> RescueReport:
    url = str(world.session._base_url)
    async with reading(card, work) as read, open_rescue(url, token) as cloud:
        view = await cloud.look(await asyncio.to_thread(box_of, read))
        key = read_public_pem(view.public_key)
        return await rescue(read, view, {spki_fingerprint(key): key}, cloud, lambda events: None)


def page_of(card: Path, seq: int) -> int:
    """Which page of the file, counted from 0, holds this event."""
    with Pages(card) as pages:
        for number in range(1, pages.count + 1):
            if any(row.key == place_of(1, seq) and row.blob[:1] != b"{" for row in pages._rows_of(number)):
                return number - 1
    raise AssertionError(seq)


async def test_a_technician_of_the_shop_brings_a_dead_box_s_sales(
    world: World, tmp_path: Path, work: Path
) -> None:
    dead, card = await a_dead_box(world, tmp_path / "dead")
    token = await world.technician_token()

    report = await bring(world, token, card, work)
    again = await bring(world, token, card, work)

    assert (report.recovered, report.added, report.missing) == (31, 31, 0)
    assert (again.recovered, again.added, again.missing) == (31, 0, 0)
    assert len(await dead.stored()) == 31
    assert len((await world.read("/v1/sales")).lines()) == 30


async def test_head_office_itself_may_bring_them(world: World, tmp_path: Path, work: Path) -> None:
    _, card = await a_dead_box(world, tmp_path / "dead")

    assert (await bring(world, world.head_office, card, work)).missing == 0


async def test_a_box_or_a_technician_of_another_shop_may_not(
    world: World, tmp_path: Path, work: Path
) -> None:
    dead, card = await a_dead_box(world, tmp_path / "dead")
    await world.enrolled(9, shop="S001", name="Lille")

    for token in (dead.token, await world.technician_token("S001")):
        with pytest.raises(CloudRefused) as caught:
            await bring(world, token, card, work)
        assert caught.value.fields["status"] == 403


async def test_sales_behind_a_hole_come_into_the_books_and_the_hole_is_told(
    world: World, tmp_path: Path, work: Path
) -> None:
    dead, card = await a_dead_box(world, tmp_path / "dead", sales=200)
    await asyncio.to_thread(spoil, card, [await asyncio.to_thread(page_of, card, 100)], random.Random(1))

    report = await bring(world, world.head_office, card, work)
    again = await bring(world, world.head_office, card, work)

    assert report.missing > 0
    assert report.recovered + report.missing == 201
    assert (again.recovered, again.added, again.missing) == (report.recovered, 0, report.missing)
    sales = (await world.read("/v1/sales")).lines()
    assert 200 - report.missing <= len(sales) < 200
    loose = await world.read(f"/v1/boxes/{dead.box.name}/epochs/1/loose?limit=10000")
    seqs = [row["seq"] for row in loose.lines()]
    stored = (await world.read(f"/v1/boxes/{dead.box.name}/epochs")).json()[0]["seq"]
    assert len(seqs) + stored == report.recovered
    assert seqs == sorted(seqs)
    assert seqs[0] > stored + 1
    reasons = [row["reason"] for row in (await world.read("/v1/exceptions")).json()]
    assert set(reasons) == {"rescued-behind-a-hole"}


async def test_a_card_that_forks_from_what_head_office_holds_is_refused(
    world: World, tmp_path: Path, work: Path
) -> None:
    dead, card = await a_dead_box(world, tmp_path / "dead")
    await dead.receipt(dead.box.pack(dead.box.notes(3)))

    report = await bring(world, world.head_office, card, work)

    assert report.refused
    assert report.added == 0
    assert report.missing == 31 - 3

"""Selling: what is acknowledged is stored once, judged by the gate, and flagged when it does not add up."""

import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from appliance.domain import event as chain
from appliance.domain.errors import InvalidSale, NotFound, OnlineOnly, SaleConflict, WrongTill
from appliance.domain.link import PROOF_GAP_S, Cause
from appliance.domain.sale import Tender
from appliance.domain.statements import HEAD_TYPE, Head, Receipt, verify
from appliance.runtime.database import open_reader
from appliance.services.gate import Gate
from appliance.services.operations import Operations
from appliance.services.selling import Selling
from appliance.services.wan import WanWatch
from appliance.storage import journal_tables as tables
from appliance.storage.journal import Journal
from appliance.storage.mirror import open_mirror
from appliance.storage.policies import Policies
from tests.fakes.clock import FakeClock
from tests.fakes.cloud import FakeCloud
from tests.fakes.journals import BOX, KEYS, a_journal
from tests.fakes.sales import a_line, a_sale, a_sale_id


@dataclass
class Shop:
    folder: Path
    clock: FakeClock
    journal: Journal
    wan: WanWatch
    selling: Selling

    async def come_online(self) -> None:
        self.wan.observe(Cause.OK, 0.02)
        await self.clock.advance(PROOF_GAP_S)
        self.wan.observe(Cause.OK, 0.02)

    def events(self, kind: str) -> list[dict[str, object]]:
        reader = open_reader(self.folder / "journal.db")
        try:
            bodies = [row.body for row in tables.events(reader, 0)]
        finally:
            reader.close()
        return [
            json.loads(bytes(chain.content(body).data))
            for body in bodies
            if chain.read(body).link.kind == kind
        ]


@asynccontextmanager
async def a_shop(folder: Path) -> AsyncIterator[Shop]:
    clock = FakeClock()
    wan = WanWatch(clock, random.Random(1))
    cloud = FakeCloud(clock, BOX, KEYS)
    async with a_journal(folder, clock) as journal, open_mirror(folder / "mirror.db") as mirror:
        gate = Gate(Policies(mirror.writer), cloud.keys, wan)
        await gate.load()
        operations = Operations(gate, cloud, journal)
        yield Shop(folder, clock, journal, wan, Selling(journal, gate, operations, BOX))


async def test_an_ack_names_the_place_and_a_signed_head_that_covers_it(tmp_path: Path) -> None:
    async with a_shop(tmp_path) as shop:
        sale = a_sale()

        ack, known = await shop.selling.accept(sale, "till-1")

        head = verify(bytes(ack.head), HEAD_TYPE, Head, KEYS)
        assert not known
        assert (ack.sale_id, ack.box, ack.epoch, ack.seq, ack.flags) == (sale.sale_id, BOX, 1, 2, [])
        assert (head.seq, head.head) == (2, ack.hash)


async def test_a_repeated_sale_gives_the_first_ack_byte_for_byte(tmp_path: Path) -> None:
    sale = a_sale()
    async with a_shop(tmp_path) as shop:
        first, _ = await shop.selling.accept(sale, "till-1")
        await shop.selling.accept(a_sale(), "till-1")
        await shop.clock.advance(3_600)
    async with a_shop(tmp_path) as shop:
        again, known = await shop.selling.accept(sale, "till-1")

        assert known
        assert msgspec.json.encode(again) == msgspec.json.encode(first)
        assert (shop.selling.counts.accepted, shop.selling.counts.replayed) == (0, 1)


async def test_a_conflict_is_loud_and_both_contents_stay_in_the_chain(tmp_path: Path) -> None:
    sale_id = a_sale_id()
    first, second = a_sale(sale_id=sale_id), a_sale(sale_id=sale_id, ticket_number=9)
    async with a_shop(tmp_path) as shop:
        await shop.selling.accept(first, "till-1")
        for _ in range(3):
            with pytest.raises(SaleConflict):
                await shop.selling.accept(second, "till-1")

        [kept] = shop.events("sale_conflict")
        assert kept["sale"] == msgspec.to_builtins(second)
        assert kept["stands_at"] == {"epoch": 1, "seq": 2}
        assert [sale["sale"] for sale in shop.events("sale")] == [msgspec.to_builtins(first)]
        assert shop.selling.counts.conflicting == 3


async def test_a_sale_that_does_not_add_up_is_accepted_and_flagged(tmp_path: Path) -> None:
    async with a_shop(tmp_path) as shop:
        ack, _ = await shop.selling.accept(a_sale(tenders=[Tender("cash", 1)]), "till-1")

        assert ack.flags == ["total-tenders"]
        assert shop.events("sale")[0]["flags"] == ["total-tenders"]
        assert shop.selling.counts.flagged == 1


async def test_a_till_cannot_sell_in_the_name_of_another(tmp_path: Path) -> None:
    async with a_shop(tmp_path) as shop:
        with pytest.raises(WrongTill):
            await shop.selling.accept(a_sale(till_id="till-2"), "till-1")

        assert shop.events("sale") == []


async def test_a_training_sale_is_refused_rather_than_counted(tmp_path: Path) -> None:
    async with a_shop(tmp_path) as shop:
        with pytest.raises(InvalidSale):
            await shop.selling.accept(a_sale(training=True), "till-1")


@pytest.mark.parametrize("hidden", ["deposit", "credit_note"])
async def test_what_hides_in_a_sale_passes_only_online(tmp_path: Path, hidden: str) -> None:
    sale = a_sale(lines=[a_line(), a_line(line_type=hidden)])
    async with a_shop(tmp_path) as shop:
        with pytest.raises(OnlineOnly) as caught:
            await shop.selling.accept(sale, "till-1")
        assert caught.value.fields["operation"] == hidden
        assert shop.events("operation_refused") == [
            {"operation": hidden, "cause": "starting", "sale_id": sale.sale_id}
        ]
        assert shop.events("sale") == []

        await shop.come_online()
        await shop.selling.accept(sale, "till-1")
        assert len(shop.events("sale")) == 1


async def test_a_known_sale_is_not_judged_again_when_the_line_is_gone(tmp_path: Path) -> None:
    sale = a_sale(lines=[a_line(line_type="deposit")])
    async with a_shop(tmp_path) as shop:
        await shop.come_online()
        first, _ = await shop.selling.accept(sale, "till-1")
        for _ in range(3):
            shop.wan.observe(Cause.NO_ANSWER, 2.0)

        again, known = await shop.selling.accept(sale, "till-1")

        assert known
        assert again == first


async def test_a_sale_can_be_looked_up_and_tells_whether_the_cloud_holds_it(tmp_path: Path) -> None:
    sale = a_sale()
    async with a_shop(tmp_path) as shop:
        ack, _ = await shop.selling.accept(sale, "till-1")
        assert not shop.selling.look_up(sale.sale_id).synced

        receipt = Receipt(BOX, ack.epoch, ack.seq, ack.hash, "2026-11-22T08:30:00Z", "00" * 16)
        await shop.journal.settle(receipt, b"envelope")

        view = shop.selling.look_up(sale.sale_id)
        assert (view.synced, view.sale) == (True, sale)
        assert msgspec.json.encode(view.ack) == msgspec.json.encode(ack)


@pytest.mark.parametrize("sale_id", ["", "nonsense", a_sale_id(), "../../etc", "zz" * 16])
async def test_an_unknown_sale_is_not_found(tmp_path: Path, sale_id: str) -> None:
    async with a_shop(tmp_path) as shop:
        with pytest.raises(NotFound):
            shop.selling.look_up(sale_id)

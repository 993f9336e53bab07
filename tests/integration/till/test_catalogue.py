"""The till's own catalogue: whole or not at all, and there when nobody answers."""

from pathlib import Path

import pytest
import zstandard

from appliance.domain.catalogue import Article, Lead, write_transfer
from appliance.domain.errors import Malformed, SnapshotRequired
from tests.fakes.clock import FakeClock
from tests.fakes.till_box import FakeBox
from tests.fakes.tills import Told, a_till
from till.catalogue import open_catalogue
from till.report import CatalogueApplied, RefusedLine, Sold
from till.tickets import Basket, Item

MILK = Article("milk", "Lait entier 1 l", 129, "EUR", 550, gtins=["3017620422003"])
WINE = Article("wine", "Chablis 75 cl", 1_490, "EUR", 2_000)


def transfer(version: int, since: int | None, *articles: Article) -> bytes:
    return zstandard.compress(b"".join(write_transfer(Lead(version, since), articles)))


async def test_an_article_is_found_by_id_and_by_any_length_of_its_gtin(tmp_path: Path) -> None:
    async with open_catalogue(tmp_path / "catalogue.db") as catalogue:
        assert catalogue.version is None
        assert await catalogue.apply(transfer(3, None, MILK, WINE)) == 3

        assert catalogue.version == 3
        assert catalogue.find("milk") == MILK
        assert catalogue.find("3017620422003") == MILK
        assert catalogue.find("03017620422003") == MILK
        assert catalogue.find("beer") is None


async def test_changes_replace_and_take_out(tmp_path: Path) -> None:
    dearer = Article("milk", "Lait entier 1 l", 139, "EUR", 550)
    async with open_catalogue(tmp_path / "catalogue.db") as catalogue:
        await catalogue.apply(transfer(3, None, MILK, WINE))
        await catalogue.apply(transfer(4, 3, dearer, Article("wine", "", 0, "EUR", 0, deleted=True)))

        assert catalogue.find("milk") == dearer
        assert catalogue.find("3017620422003") is None, "its code went with the change"
        assert catalogue.find("wine") is None


async def test_a_snapshot_replaces_everything(tmp_path: Path) -> None:
    async with open_catalogue(tmp_path / "catalogue.db") as catalogue:
        await catalogue.apply(transfer(3, None, MILK))
        await catalogue.apply(transfer(9, None, WINE))

        assert (catalogue.version, catalogue.find("milk"), catalogue.find("wine")) == (9, None, WINE)


@pytest.mark.parametrize(
    "damage", [lambda body: body[:-9], lambda body: b"not zstd", lambda body: zstandard.compress(b"{}\n")]
)
async def test_a_damaged_transfer_changes_nothing(tmp_path: Path, damage) -> None:  # type: ignore[no-untyped-def]
    async with open_catalogue(tmp_path / "catalogue.db") as catalogue:
        await catalogue.apply(transfer(3, None, MILK))
        with pytest.raises(Malformed):
            await catalogue.apply(damage(transfer(4, None, WINE)))

        assert (catalogue.version, catalogue.find("milk"), catalogue.find("wine")) == (3, MILK, None)


async def test_changes_that_begin_elsewhere_are_not_taken(tmp_path: Path) -> None:
    async with open_catalogue(tmp_path / "catalogue.db") as catalogue:
        await catalogue.apply(transfer(3, None, MILK))
        with pytest.raises(SnapshotRequired):
            await catalogue.apply(transfer(6, 5, WINE))

        assert catalogue.version == 3


async def test_a_till_follows_the_boxs_catalogue_and_prices_from_it_when_the_box_is_gone(
    tmp_path: Path,
) -> None:
    box, told, clock = FakeBox(), Told(), FakeClock()
    box.publish(1, [MILK])
    async with box.serving(), a_till(tmp_path, told, clock, box=box):
        await told.wait(CatalogueApplied)
        box.publish(2, [MILK, WINE])
        assert (await told.wait(CatalogueApplied, 2)).version == 2
    async with a_till(tmp_path, told, clock, box=None) as till:
        sold = await till.selling.sell(Basket([Item("wine", "2"), Item("3017620422003")]))

    assert isinstance(sold, Sold)
    assert (sold.status, sold.total_minor) == ("pending", 2 * 1_490 + 129)


async def test_a_till_too_far_behind_takes_a_snapshot(tmp_path: Path) -> None:
    box, told, clock = FakeBox(), Told(), FakeClock()
    box.publish(1, [MILK])
    async with box.serving(), a_till(tmp_path, told, clock, box=box):
        await told.wait(CatalogueApplied)
        del box.articles[1]
        box.publish(7, [WINE])
        assert (await told.wait(CatalogueApplied, 2)).version == 7


async def test_what_nobody_has_a_price_for_makes_no_ticket(tmp_path: Path) -> None:
    box, told = FakeBox(), Told()
    async with box.serving(), a_till(tmp_path, told, FakeClock(), box=box) as till:
        refused = await till.selling.sell(Basket([Item("beer")]))
        counts = await till.copies.counts()

    assert isinstance(refused, RefusedLine)
    assert refused.code == "unknown-article"
    assert "beer" in refused.sentence
    assert counts == {}


async def test_a_price_that_the_till_lacks_is_asked_of_the_box(tmp_path: Path) -> None:
    box, told = FakeBox(), Told()
    async with box.serving(), a_till(tmp_path, told, FakeClock(), box=box) as till:
        box.articles[5] = [WINE]  # there, but not told
        sold = await till.selling.sell(Basket([Item("wine")]))

    assert isinstance(sold, Sold)
    assert sold.total_minor == 1_490

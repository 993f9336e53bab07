"""What does not add up with the catalogue that a sale names: accepted and flagged."""

from pathlib import Path

from tests.fakes.sales import a_line
from tests.integration.selling.shop import a_shop


async def test_an_article_that_the_named_catalogue_does_not_hold_is_flagged(tmp_path: Path) -> None:
    async with a_shop(tmp_path) as shop:
        await shop.catalogue(3, 1_299)
        known = a_line(article_id="A0000001")

        assert await shop.sell(1, lines=[known], catalogue_version=3) == []
        assert await shop.sell(2, lines=[known, a_line()], catalogue_version=3) == ["unknown-article"]


async def test_a_price_that_the_named_catalogue_does_not_hold_is_flagged(tmp_path: Path) -> None:
    async with a_shop(tmp_path) as shop:
        await shop.catalogue(3, 1_299)
        dear = a_line(article_id="A0000001", unit_price_minor=1_300)

        assert await shop.sell(1, lines=[dear], catalogue_version=3) == ["price-mismatch"]
        foreign = {"lines": [a_line(article_id="A0000001")], "currency": "CHF"}
        assert await shop.sell(2, catalogue_version=3, **foreign) == ["price-mismatch"]


async def test_prices_are_held_against_the_version_that_the_sale_names_or_not_at_all(tmp_path: Path) -> None:
    async with a_shop(tmp_path) as shop:
        line = a_line(article_id="A0000001")
        assert await shop.sell(1, lines=[line], catalogue_version=0) == []
        await shop.catalogue(3, 1_299)
        assert await shop.sell(2, lines=[line], catalogue_version=3) == []
        await shop.catalogue(4, 1_500)

        assert await shop.sell(3, lines=[line], catalogue_version=4) == ["price-mismatch"]
        for number, other in enumerate((3, 5, None), 4):
            assert await shop.sell(number, lines=[line], catalogue_version=other) == []


async def test_a_line_without_a_catalogue_price_is_not_held_against_it(tmp_path: Path) -> None:
    async with a_shop(tmp_path) as shop:
        await shop.catalogue(3, 1_299)
        free = [a_line(line_type="voucher", article_id="V-1"), a_line(article_id="gone", voided=True)]

        assert await shop.sell(1, lines=[a_line(article_id="A0000001"), *free], catalogue_version=3) == []


async def test_an_article_taken_out_of_the_catalogue_is_unknown(tmp_path: Path) -> None:
    async with a_shop(tmp_path) as shop:
        await shop.catalogue(3, 1_299, 500)
        await shop.catalogue(4, 1_299)

        line = a_line(article_id="A0000002", unit_price_minor=500)
        assert await shop.sell(1, lines=[line], catalogue_version=4) == ["unknown-article"]


async def test_a_trolley_larger_than_one_question_and_than_the_memory_is_judged_whole(tmp_path: Path) -> None:
    async with a_shop(tmp_path) as shop:
        await shop.catalogue(3, *[100] * 6_000)
        trolleys = [
            [
                a_line(article_id=f"A{number:07d}", unit_price_minor=100)
                for number in range(first, first + 900)
            ]
            for first in range(1, 5_401, 900)
        ]

        for number, lines in enumerate(trolleys, 1):
            assert await shop.sell(number, lines=lines, catalogue_version=3) == []
        lines = [*trolleys[0], a_line(article_id="A0006001", unit_price_minor=100)]
        assert await shop.sell(len(trolleys) + 1, lines=lines, catalogue_version=3) == ["unknown-article"]

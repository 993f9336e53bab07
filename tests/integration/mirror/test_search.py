"""What is found by code and by words."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.domain import gtin
from appliance.domain.errors import BadInput
from appliance.storage.mirror import FOUND_MAX, WORDS_MAX, Mirror, open_mirror
from tests.fakes.catalogue import a_transfer, an_article

# GTIN-8, UPC-A (12), EAN-13 and ITF-14, all with right check digits.
CODES = {
    "96385074": "eight",
    "036000291452": "twelve",
    "4006381333931": "thirteen",
    "10012345678902": "fourteen",
}
NAMES = (
    "Crème brûlée à l'ancienne",
    "Œuf de poule bio",
    "Lait demi-écrémé 1,5L",
    'Biscuit "NEAR" water',
    "Pâté OR rillettes",
    "Crema catalana",
)


@pytest.fixture
async def mirror(tmp_path: Path) -> AsyncIterator[Mirror]:
    coded = [
        an_article(n, article_id=name, name=name, gtins=[code])
        for n, (code, name) in enumerate(CODES.items(), 1)
    ]
    named = [an_article(n, name=name) for n, name in enumerate(NAMES, 100)]
    async with open_mirror(tmp_path / "mirror.db") as opened:
        await opened.apply(a_transfer(tmp_path / "incoming.zst", 1, [*coded, *named]))
        yield opened


@pytest.mark.parametrize(("code", "article_id"), CODES.items())
async def test_every_longer_form_of_a_code_finds_its_article(
    mirror: Mirror, code: str, article_id: str
) -> None:
    for length in (n for n in gtin.LENGTHS if n >= len(code)):
        assert [found.article_id for found in mirror.by_gtin(code.zfill(length)).articles] == [article_id]


async def test_a_upc_of_12_digits_finds_what_was_stored_as_ean_13(mirror: Mirror, tmp_path: Path) -> None:
    article = an_article(9, gtins=["0012345678905"])
    await mirror.apply(a_transfer(tmp_path / "more.zst", 2, [article], since=1))

    assert mirror.by_gtin("012345678905") == (2, [article])


async def test_all_articles_that_share_a_code_are_found(mirror: Mirror, tmp_path: Path) -> None:
    twins = [
        an_article(20, gtins=["96385074", "96385074", "00000096385074"]),
        an_article(21, gtins=["96385074"]),
    ]
    await mirror.apply(a_transfer(tmp_path / "more.zst", 2, twins))

    assert mirror.by_gtin("96385074").articles == twins


async def test_a_wrong_code_in_the_catalogue_costs_nothing_but_itself(mirror: Mirror, tmp_path: Path) -> None:
    article = an_article(30, gtins=["96385075", "4006381333931"])
    await mirror.apply(a_transfer(tmp_path / "more.zst", 2, [article], since=1))

    assert article in mirror.by_gtin("4006381333931").articles
    with pytest.raises(BadInput):
        mirror.by_gtin("96385075")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("creme", {NAMES[0]}),
        ("CRÈM", {NAMES[0], NAMES[5]}),
        ("brulee creme", {NAMES[0]}),
        ("crem", {NAMES[0], NAMES[5]}),
        ("œuf", {NAMES[1]}),
        ("oeuf", {NAMES[1]}),
        ("l'ancienne", {NAMES[0]}),
        ("demi-ecreme 1,5l", {NAMES[2]}),
        ("near", {NAMES[3]}),
        ("pate OR rill", {NAMES[4]}),
        ("creme water", set()),
        ("emi", set()),
    ],
)
async def test_words_find_names_whatever_their_accents(mirror: Mirror, text: str, names: set[str]) -> None:
    assert {article.name for article in (await mirror.search(text)).articles} == names


@pytest.mark.parametrize(
    "text",
    [
        '"',
        '"creme',
        "creme*",
        "*",
        "^creme",
        "creme NEAR water",
        "NEAR(creme water)",
        "-creme",
        "creme -brulee",
        "words:creme",
        "{words}: creme",
        "creme AND",
        "NOT",
        "(creme",
        "creme + brulee",
        "'; DROP TABLE article; --",
        "creme\x00brulee",
        "\\",
        "%",
        "a OR b",
    ],
)
async def test_no_text_is_a_query_language(mirror: Mirror, text: str) -> None:
    try:
        found = await mirror.search(text)
    except BadInput:
        return  # it holds no word
    assert found.version == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(
    text=st.text(alphabet=st.one_of(st.sampled_from("\"'*-+^:(){} NEARORNOT"), st.characters()), max_size=40)
)
async def test_any_text_is_answered_or_refused_as_bad_input(mirror: Mirror, text: str) -> None:
    with contextlib.suppress(BadInput):
        await mirror.search(text)


@pytest.mark.parametrize("text", ["", " ", "*", "--", " ".join("abcdefghijk"[: WORDS_MAX + 1])])
async def test_a_search_needs_some_words_and_not_too_many(mirror: Mirror, text: str) -> None:
    with pytest.raises(BadInput, match="words"):
        await mirror.search(text)


@pytest.mark.parametrize("limit", [0, -1, FOUND_MAX + 1])
async def test_a_search_gives_a_bounded_number(mirror: Mirror, limit: int) -> None:
    with pytest.raises(BadInput, match="1 to"):
        await mirror.search("creme", limit)


async def test_a_search_gives_the_first_ones_in_the_order_of_the_catalogue(mirror: Mirror) -> None:
    assert [article.name for article in (await mirror.search("cre", limit=1)).articles] == [NAMES[0]]

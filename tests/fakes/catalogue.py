"""Catalogues out of a seed, and as files on their way."""

import gzip
import os
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from appliance.domain import gtin
from appliance.domain.catalogue import Article, Lead, pack_transfer, write_transfer

_NOUNS = (
    *(
        "café",
        "crème",
        "œuf",
        "pâte",
        "thé",
        "lait",
        "sucre",
        "jus",
        "pain",
        "riz",
        "sel",
        "poivre",
        "beurre",
    ),
    *("fromage", "jambon", "soupe", "huile", "eau", "bière", "gâteau"),
)
_WORDS = (
    *("bio", "entier", "brûlée", "d'été", "maison", "fumé", "léger", "aux fraises", "à l'ancienne", "1,5L"),
    *("Noël", "doux", "forêt", "grillé", "frais", "nature"),
)


def ean13(number: int) -> str:
    """A French GTIN-13 that no two numbers share."""
    body = f"30{number:010d}"
    return body + gtin.check_digit(body)


def an_article(number: int = 1, **fields: Any) -> Article:
    """One article; equal arguments make equal articles."""
    rng = random.Random(number)
    name = f"{rng.choice(_NOUNS).capitalize()} {rng.choice(_WORDS)} {rng.choice(_WORDS)} {number}"
    plain = {
        "article_id": f"A{number:07d}",
        "name": name,
        "price_minor": rng.randrange(50, 5_000),
        "currency": "EUR",
        "vat_rate_bp": rng.choice((550, 1_000, 2_000)),
        "gtins": [ean13(number)],
    }
    return Article(**{**plain, **fields})


def real_or_made_articles(count: int) -> Iterable[Article]:
    """Real names and codes out of $STOREBOX_DATA or the folder beside the project; else made from a seed."""
    source = Path(os.environ.get("STOREBOX_DATA", "../shared/data")) / "articles.tsv.gz"
    if not source.exists():
        yield from map(an_article, range(1, count + 1))
        return
    rng = random.Random(7)
    with gzip.open(source, "rt", encoding="utf-8") as lines:
        next(lines)
        for number, line in zip(range(count), lines, strict=False):
            code, name = line.rstrip("\n").split("\t")
            yield an_article(number, name=name[:400], gtins=[code], price_minor=rng.randrange(50, 5_000))


def packed(version: int, articles: Iterable[Article], since: int | None = None) -> bytes:
    """A transfer as it travels."""
    return b"".join(pack_transfer(write_transfer(Lead(version, since), articles)))


def a_transfer(into: Path, version: int, articles: Iterable[Article], since: int | None = None) -> Path:
    """A transfer as a file."""
    into.write_bytes(packed(version, articles, since))
    return into

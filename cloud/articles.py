"""Read a catalogue from a file, or make one: streams of articles, one after another.

A file is NDJSON of our own `Article`, or a table `gtin<TAB>name[<TAB>...]`; either may be gzipped. A table brings no
prices: they are drawn from the seed and the code alone, so an article keeps its price whatever else is in the file.
"""

import gzip
import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from appliance.domain import gtin
from appliance.domain.catalogue import Article
from appliance.domain.errors import BadInput
from cloud.assortment import FAMILIES, SIZES

_GZIP = b"\x1f\x8b"
# An article with 100 codes is below 4 KiB; a longer line is no line of ours.
LINE_BYTES_MAX = 64 * 1024
NAME_MAX = 400
# 0.49 to 49.99 in steps that a price tag would show.
PRICE_FROM_MINOR, PRICE_FOLD = 49, 100
_VAT_RATES_BP = (550, 550, 550, 550, 550, 550, 1000, 2000, 2000, 2000)


class _Written(Article, frozen=True, forbid_unknown_fields=True):
    """An article as a person wrote it: here a misspelt field is a mistake, not news from a later release."""


_decoder = msgspec.json.Decoder(_Written)


def read_articles(path: Path, seed: int) -> Iterator[Article]:
    """The articles of a file. Raises BadInput that names the line; OSError when there is no such file."""
    with _opened(path) as file:
        number = 0
        try:
            while line := file.readline(LINE_BYTES_MAX):
                number += 1
                if (article := _read_line(line.rstrip(b"\r\n"), number, seed)) is not None:
                    yield article
        except (gzip.BadGzipFile, EOFError) as error:
            raise BadInput(f"{path}: damaged after line {number}: {error}") from error


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    with path.open("rb") as file:
        zipped = file.read(2) == _GZIP
        file.seek(0)
        if not zipped:
            yield file
            return
        with gzip.open(file) as text:
            yield text  # type: ignore[misc]  # a GzipFile reads like any binary file


def _read_line(line: bytes, number: int, seed: int) -> Article | None:
    if not line.strip() or (number == 1 and line.startswith(b"gtin\t")):
        return None
    try:
        if line.startswith(b"{"):
            return msgspec.convert(msgspec.to_builtins(_decoder.decode(line)), Article)
        return _from_table(line.decode(), seed)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BadInput(f"line {number}: {error}") from error


def _from_table(line: str, seed: int) -> Article:
    code, *rest = line.split("\t")
    code = code.strip()
    form = gtin.normalise(code)
    if form is None:
        raise ValueError(f"{code!r} is no GTIN (8, 12, 13 or 14 digits with a right check digit)")
    if not rest or not rest[0].strip():
        raise ValueError(f"{code} has no name")
    if len(rest[0]) > NAME_MAX:
        raise ValueError(f"the name of {code} is longer than {NAME_MAX} signs")
    return _priced(code, rest[0].strip(), seed, restricted=_is_restricted(form))


def _is_restricted(form: str) -> bool:
    # GS1 prefixes 02 and 20 to 29: what such a code means is the shop's own affair (GS1 General Specifications 1.4).
    return form.startswith(("002", "02"))


def _priced(code: str, name: str, seed: int, *, restricted: bool) -> Article:
    draw = hashlib.sha256(f"{seed}:{code}".encode()).digest()
    share = int.from_bytes(draw[:6]) / 2**48
    # Cheap things are many: prices spread evenly on a logarithmic scale, and end in 5 or 9.
    price = int(PRICE_FROM_MINOR * PRICE_FOLD**share)
    return Article(
        article_id=code,
        name=name,
        price_minor=price - price % 10 + (9 if draw[6] % 2 else 5),
        currency="EUR",
        vat_rate_bp=_VAT_RATES_BP[draw[7] % len(_VAT_RATES_BP)],
        gtins=[code],
        # Restricted-circulation codes are what a shop weighs and labels itself.
        unit="kg" if restricted else "each",
    )


def make_articles(count: int, seed: int, rng: random.Random) -> Iterator[Article]:
    """A catalogue of our own: names of groceries, valid codes, one in twenty sold by weight. The seed decides all."""
    codes: set[str] = set()
    while len(codes) < count:
        number = len(codes)
        by_weight = number % 20 == 19
        body = f"2{rng.randrange(10**11):011d}" if by_weight else f"3{rng.randrange(10**11):011d}"
        code = body + gtin.check_digit(body)
        if code in codes:
            continue
        codes.add(code)
        thing, kinds = FAMILIES[number % len(FAMILIES)]
        name = f"{thing} {rng.choice(kinds)}"
        yield _priced(code, name if by_weight else f"{name} {rng.choice(SIZES)}", seed, restricted=by_weight)

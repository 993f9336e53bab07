"""Articles, and how a catalogue travels: a snapshot, then changes, each under one version.

A version is an integer that only grows. The wire form of both is NDJSON: a `Lead` line, one `Article` line per
article, a `Tail` line with the count and a digest, so that a cut body is never taken for a whole one; all of it as one
zstd frame.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, BinaryIO, Literal

import msgspec
import zstandard
from msgspec import Meta

from appliance.domain.canonical import canonical
from appliance.domain.errors import Malformed, TooLarge
from appliance.domain.sale import Amount, Currency, Identifier, VatRate

# "$" alone also matches before a final line feed (re, not ECMA-262).
Gtin = Annotated[str, Meta(pattern=r"^[0-9]{8,14}$(?!\n)")]
Version = Annotated[int, Meta(ge=0, le=2**53 - 1)]

# The longest article takes some 16 KiB; a body without line feeds must not fill the memory.
LINE_BYTES_MAX = 64 * 1024
# What a decoder of RFC 8878 should support (section 3.1.1.1.2): levels up to 19 stay within it, a bomb does not.
_WINDOW_BYTES_MAX = 8 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024
_LEVEL = 3


class Article(msgspec.Struct, frozen=True):
    """One thing that is sold. `price_minor` includes VAT and is per `unit`; a deleted one is kept as a tombstone.

    Fields that are not known here are passed over: a cloud that says more must not cost older boxes their prices.
    """

    article_id: Identifier
    name: Annotated[str, Meta(max_length=400)]
    price_minor: Amount
    currency: Currency
    vat_rate_bp: VatRate
    gtins: Annotated[list[Gtin], Meta(max_length=100)] = []
    unit: Literal["each", "kg", "l", "m"] = "each"
    deleted: bool = False


class Lead(msgspec.Struct, frozen=True):
    """The first line: these articles bring a catalogue at version `since` (None: any, this is all) to `version`."""

    version: Version
    since: Version | None


class Tail(msgspec.Struct, frozen=True):
    """The last line: how many articles stood between, and the SHA-256 (hex) over all lines before, line feeds included.

    The lead counts too: a wrong version would be worse than a wrong price.
    """

    count: int
    sha256: str


_article = msgspec.json.Decoder(Article)
_lead = msgspec.json.Decoder(Lead)
_tail = msgspec.json.Decoder(Tail)


def write_transfer(lead: Lead, articles: Iterable[Article]) -> Iterator[bytes]:
    """The NDJSON lines of a snapshot or of changes."""
    return frame_transfer(lead, (canonical(article) + b"\n" for article in articles))


def frame_transfer(lead: Lead, blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same for articles that are already lines; a block holds any number of whole ones, line feeds included."""
    first = canonical(lead) + b"\n"
    yield first
    running, count = hashlib.sha256(first), 0
    for block in blocks:
        running.update(block)
        count += block.count(b"\n")
        yield block
    yield canonical(Tail(count, running.hexdigest())) + b"\n"


def read_transfer(lines: Iterable[bytes]) -> Iterator[Lead | Article]:
    """The lead, then each article. Raises Malformed on a bad line, and at the end unless the tail fits them all.

    Whoever applies the articles must do it in one transaction that an exception undoes.
    """
    stream = iter(lines)
    first = next(stream, b"")
    yield _parse(_lead, first)
    running, count = hashlib.sha256(first), 0
    previous: bytes | None = None
    for line in stream:
        if previous is not None:
            article = _parse(_article, previous)
            running.update(previous)
            count += 1
            yield article
        previous = line
    tail = _parse(_tail, previous or b"")
    if tail.count != count or tail.sha256 != running.hexdigest():
        raise Malformed(f"the catalogue was cut or changed on its way: {count} of {tail.count} articles came")


def pack_transfer(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a transfer as the chunks of one zstd frame, in flat memory."""
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compressobj()
    for block in blocks:
        if chunk := compressor.compress(block):
            yield chunk
    yield compressor.flush()


def unpack_transfer(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a packed transfer, read as it comes, in flat memory.

    Raises Malformed (no zstd, or a damaged frame) or TooLarge (a line that no article needs). A frame that was cut
    just ends: `read_transfer` misses its tail.
    """
    decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES_MAX)
    rest = b""
    try:
        with decompressor.stream_reader(file, closefd=False) as reader:
            while chunk := reader.read(_CHUNK_BYTES):
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    yield line + b"\n"
                if len(rest) > LINE_BYTES_MAX:
                    raise TooLarge(f"a line of the catalogue holds at most {LINE_BYTES_MAX} bytes")
    except zstandard.ZstdError as error:
        raise Malformed(f"not a whole zstd frame: {error}") from error
    if rest:
        yield rest


def _parse(decoder: msgspec.json.Decoder[Any], line: bytes) -> Any:
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"a line of the catalogue cannot be read: {error}") from error


# Letters that Unicode does not decompose, though people who search type them apart or without the stroke.
_OPENED = str.maketrans(
    {"œ": "oe", "æ": "ae", "ø": "o", "đ": "d", "ł": "l", "\N{LATIN SMALL LETTER DOTLESS I}": "i"}
)
_WORD = re.compile(r"[^\W_]+")


def fold(text: str) -> str:
    """Text for searching: lower case, without accents, ligatures opened (Crème brûlée, Œuf: creme brulee, oeuf)."""
    if text.isascii():
        return text.lower()
    # Twice: some compatibility forms hold capitals (™ is TM), and some small letters decompose (ΐ).
    small = unicodedata.normalize("NFKD", text).casefold()
    bare = "".join(sign for sign in unicodedata.normalize("NFKD", small) if not unicodedata.combining(sign))
    return bare.translate(_OPENED)


def words(text: str) -> list[str]:
    """The folded words of a text: letters and digits; all else parts them (l'eau 1.5L: l, eau, 1, 5l)."""
    return _WORD.findall(fold(text))

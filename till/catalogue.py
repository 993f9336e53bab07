"""The till's own catalogue: what it needs to price a basket when neither box nor cloud answers.

A transfer is applied in one transaction, and only when its tail fits: a reader never sees half of one.
"""

import io
import sqlite3
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path

import msgspec
import zstandard

from appliance.domain.canonical import canonical
from appliance.domain.catalogue import Article, Lead, read_transfer
from appliance.domain.errors import Malformed, SnapshotRequired
from appliance.domain.gtin import normalise
from appliance.runtime.database import Writer, open_reader, open_writer
from appliance.runtime.migrations import migrate

# An article line has a 400-sign name and 100 GTINs at most: far below.
LINE_BYTES_MAX = 16 * 1024

_articles = msgspec.json.Decoder(Article)


class Catalogue:
    """Articles by id and by GTIN. Use `open_catalogue`."""

    def __init__(self, writer: Writer, reader: sqlite3.Connection) -> None:
        self._writer = writer
        self._reader = reader

    @property
    def version(self) -> int | None:
        """The version in force; None before the first snapshot."""
        row = self._reader.execute("SELECT version FROM version").fetchone()
        return None if row is None else int(row[0])

    def find(self, code: str) -> Article | None:
        """The article with this id, or with this GTIN in any of its lengths; None when unknown or taken out."""
        row = self._reader.execute("SELECT article FROM article WHERE article_id = ?", (code,)).fetchone()
        if row is None and (gtin14 := normalise(code)) is not None:
            query = "SELECT article FROM gtin JOIN article USING (article_id) WHERE gtin14 = ? ORDER BY article_id"
            row = self._reader.execute(query, (gtin14,)).fetchone()
        return None if row is None else _articles.decode(row[0])

    async def apply(self, transfer: bytes) -> int:
        """Take over a transfer (zstd over NDJSON); the version now in force, on disk when this returns.

        Raises Malformed (nothing is changed), or SnapshotRequired when its changes do not begin at our version.
        """
        version = await self._writer.transaction(lambda connection: _apply(connection, _unpack(transfer)))
        await self._writer.checkpoint("PASSIVE")
        return version


@asynccontextmanager
async def open_catalogue(path: Path) -> AsyncIterator[Catalogue]:
    """The catalogue in this file. Raises StorageFault, SchemaTooNew."""
    async with open_writer(path) as writer:
        await migrate(writer, files("till") / "schema" / "catalogue")
        reader = open_reader(path)
        try:
            yield Catalogue(writer, reader)
        finally:
            reader.close()


def _unpack(transfer: bytes) -> Iterator[bytes]:
    try:
        with (
            zstandard.ZstdDecompressor().stream_reader(transfer) as plain,
            io.BufferedReader(plain) as lines,
        ):
            while line := lines.readline(LINE_BYTES_MAX):
                yield line
    except zstandard.ZstdError as error:
        raise Malformed(f"not a zstd frame: {error}") from error


def _apply(connection: sqlite3.Connection, lines: Iterable[bytes]) -> int:
    stream = read_transfer(lines)
    lead = next(stream)
    assert isinstance(lead, Lead)  # read_transfer promises it
    row = connection.execute("SELECT version FROM version").fetchone()
    if lead.since is None:
        connection.execute("DELETE FROM gtin")
        connection.execute("DELETE FROM article")
    elif row is None or row[0] != lead.since:
        raise SnapshotRequired(f"changes since {lead.since} do not fit on {row and row[0]}")
    for article in stream:
        assert isinstance(article, Article)
        _put(connection, article)
    connection.execute("REPLACE INTO version (only, version) VALUES (1, ?)", (lead.version,))
    return lead.version


def _put(connection: sqlite3.Connection, article: Article) -> None:
    connection.execute("DELETE FROM gtin WHERE article_id = ?", (article.article_id,))
    if article.deleted:
        connection.execute("DELETE FROM article WHERE article_id = ?", (article.article_id,))
        return
    connection.execute("REPLACE INTO article VALUES (?, ?)", (article.article_id, canonical(article)))
    codes = {code for gtin in article.gtins if (code := normalise(gtin)) is not None}
    connection.executemany(
        "INSERT INTO gtin VALUES (?, ?)", [(code, article.article_id) for code in sorted(codes)]
    )

"""Apply a transfer to mirror.db: what happens inside the one transaction, on the writer's thread.

A snapshot is compared with what is there: equal articles keep the version in which they last changed, so tills can be
given changes across it and the card is spared; what it does not name becomes a tombstone.
"""

import hashlib
import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from appliance.domain import gtin
from appliance.domain.canonical import canonical
from appliance.domain.catalogue import Article, Lead, words
from appliance.domain.errors import Malformed, SnapshotRequired, StorageFault

DIGEST_BYTES = 32
_MODULUS = 1 << (8 * DIGEST_BYTES)
# A third of a large catalogue, and years of its turnover; beyond it the older half is forgotten.
TOMBSTONES_MAX = 50_000

_article = msgspec.json.Decoder(Article)


class State(NamedTuple):
    """The catalogue as a whole. `digest`: the SHA-256 of each live article's body, added up modulo 2^256 (hex).

    A sum needs no order and follows a delta without reading the rest. It proves, against accidents and not against an
    adversary, that the bodies in the file are those that were applied.
    """

    version: int
    horizon: int
    articles: int
    digest: str


class Applied(NamedTuple):
    """What a transfer did. `since` None: a snapshot; `carried` counts its articles, `changed` those that differed."""

    since: int | None
    carried: int
    changed: int
    state: State


class Row(NamedTuple):
    """An article in the file."""

    id: int
    deleted: int
    words: str
    body: bytes


def read_state(connection: sqlite3.Connection) -> State:
    """The catalogue as a whole."""
    version, horizon, articles, digest = connection.execute(
        "SELECT version, horizon, articles, digest FROM catalogue"
    ).fetchone()
    return State(version, horizon, articles, digest.hex())


def load(
    connection: sqlite3.Connection,
    transfer: Iterator[Lead | Article],
    *,
    anew: bool = False,
    tombstones_max: int = TOMBSTONES_MAX,
) -> Applied:
    """Bring the catalogue to the transfer's version. Must run inside a transaction that an exception undoes.

    `anew` trusts nothing that is there; the transfer must then be a snapshot. Changes without news are no change.
    Raises Malformed (also for what `read_transfer` finds out at the end) or SnapshotRequired.
    """
    before = read_state(connection)
    lead = next(transfer)
    assert isinstance(lead, Lead)
    if lead.since is not None:
        _check_follows(lead, before, anew)
    # The head office may have been restored from a backup. It is right all the same; but then no version that was
    # given out before, up to ours, may count as a start for changes any more.
    fresh = lead.since is None and (anew or lead.version < before.version)
    if fresh:
        _clear(connection)
        before = before._replace(articles=0, digest=bytes(DIGEST_BYTES).hex())
    loading = _Loading(connection, lead, before)
    for article in transfer:
        assert isinstance(article, Article)
        loading.put(article)
    if loading.carried and lead.since == lead.version:
        raise Malformed(f"articles changed, but the version did not: {lead.version}")
    if lead.since is None:
        loading.bury_the_unnamed()
    horizon = before.horizon
    if fresh or before.version == 0:
        horizon = lead.version if lead.version >= before.version else before.version + 1
    horizon = max(horizon, _forget(connection, tombstones_max))
    state = State(lead.version, horizon, loading.articles, loading.digest)
    if lead.since != lead.version:
        connection.execute(
            "UPDATE catalogue SET version = ?, horizon = ?, articles = ?, digest = ?",
            (state.version, state.horizon, state.articles, bytes.fromhex(state.digest)),
        )
    return Applied(lead.since, loading.carried, loading.changed, state)


def _check_follows(lead: Lead, before: State, anew: bool) -> None:
    if anew or lead.since != before.version:
        raise SnapshotRequired(
            f"these changes follow version {lead.since}, the mirror is at {before.version}"
        )
    if lead.version < lead.since:
        raise Malformed(f"these changes lead back, from version {lead.since} to {lead.version}")


def _clear(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO article_words (article_words) VALUES ('delete-all')")
    connection.execute("DELETE FROM barcode")
    connection.execute("DELETE FROM article")


def _forget(connection: sqlite3.Connection, tombstones_max: int) -> int:
    """Drop the older half of too many tombstones; returns the horizon that this makes, 0 when nothing was dropped."""
    (count,) = connection.execute("SELECT count(*) FROM article WHERE deleted").fetchone()
    if count <= tombstones_max:
        return 0
    (horizon,) = connection.execute(
        "SELECT version FROM article WHERE deleted ORDER BY version LIMIT 1 OFFSET ?",
        (count - tombstones_max // 2 - 1,),
    ).fetchone()
    connection.execute(
        "INSERT INTO article_words (article_words, rowid, words)"
        " SELECT 'delete', id, words FROM article WHERE deleted AND version <= ?",
        (horizon,),
    )
    connection.execute("DELETE FROM article WHERE deleted AND version <= ?", (horizon,))
    return int(horizon)


class _Loading:
    """One transfer on its way into the tables."""

    def __init__(self, connection: sqlite3.Connection, lead: Lead, before: State) -> None:
        self._connection = connection
        self._version = lead.version
        self.carried = 0
        self.changed = 0
        self.articles = before.articles
        self._sum = int(before.digest, 16)
        (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM article").fetchone()
        # Ids are dense, so this takes a byte an article. A snapshot marks who is in it.
        self._named = bytearray(last + 1)

    @property
    def digest(self) -> str:
        """The new state's."""
        return self._sum.to_bytes(DIGEST_BYTES, "big").hex()

    def put(self, article: Article) -> None:
        """Make the article what the transfer says."""
        self.carried += 1
        body = canonical(article)
        found = self._connection.execute(
            "SELECT id, deleted, words, body FROM article WHERE article_id = ?", (article.article_id,)
        ).fetchone()
        if found is None:
            self._insert(article, body)
            return
        row = Row(*found)
        self._named[row.id] = 1
        if row.body != body:
            self._replace(row, article, body)

    def bury_the_unnamed(self) -> None:
        """Turn what a snapshot did not name into tombstones."""
        for number in [n for n, named in enumerate(self._named) if n and not named]:
            found = self._connection.execute(
                "SELECT id, deleted, words, body FROM article WHERE id = ? AND NOT deleted", (number,)
            ).fetchone()
            if found is not None:
                row = Row(*found)
                gone = msgspec.structs.replace(stored_article(row.body), deleted=True)
                self._replace(row, gone, canonical(gone))

    def _insert(self, article: Article, body: bytes) -> None:
        number = self._connection.execute(
            "INSERT INTO article (article_id, version, deleted, words, body) VALUES (?, ?, ?, ?, ?)",
            (article.article_id, self._version, article.deleted, text := _words_of(article), body),
        ).lastrowid
        assert number is not None
        self._named.extend(bytes(number + 1 - len(self._named)))
        self._named[number] = 1
        self._index(number, set(), _codes_of(article), None, text)
        self._count(None, None if article.deleted else body)

    def _replace(self, row: Row, article: Article, body: bytes) -> None:
        self._connection.execute(
            "UPDATE article SET version = ?, deleted = ?, words = ?, body = ? WHERE id = ?",
            (self._version, article.deleted, text := _words_of(article), body, row.id),
        )
        self._index(row.id, _codes_of(stored_article(row.body)), _codes_of(article), row.words, text)
        self._count(None if row.deleted else row.body, None if article.deleted else body)

    def _index(
        self, number: int, codes: set[int], new_codes: set[int], text: str | None, new_text: str
    ) -> None:
        """Change what an article is found by. Most changes are of prices, and touch nothing here."""
        run = self._connection.execute
        for code in codes - new_codes:
            run("DELETE FROM barcode WHERE gtin = ? AND article = ?", (code, number))
        for code in new_codes - codes:
            run("INSERT INTO barcode (gtin, article) VALUES (?, ?)", (code, number))
        if text == new_text:
            return
        if text is not None:
            # It must be told exactly the words that it was given (sqlite.org/fts5.html#the_delete_command).
            run(
                "INSERT INTO article_words (article_words, rowid, words) VALUES ('delete', ?, ?)",
                (number, text),
            )
        run("INSERT INTO article_words (rowid, words) VALUES (?, ?)", (number, new_text))

    def _count(self, body: bytes | None, new_body: bytes | None) -> None:
        """Keep the totals up: a live body went, another came."""
        self.changed += 1
        self.articles += (new_body is not None) - (body is not None)
        gone, come = (0 if b is None else _print_of(b) for b in (body, new_body))
        self._sum = (self._sum + come - gone) % _MODULUS


def live_digest(connection: sqlite3.Connection) -> str:
    """The digest of the live articles as they stand in the file, from all their bodies (reads everything)."""
    bodies = connection.execute("SELECT body FROM article WHERE NOT deleted")
    total = sum(_print_of(body) for (body,) in bodies) % _MODULUS
    return total.to_bytes(DIGEST_BYTES, "big").hex()


def _print_of(body: bytes) -> int:
    return int.from_bytes(hashlib.sha256(body).digest(), "big")


def stored_article(body: bytes) -> Article:
    """An article out of the file. Raises StorageFault when the bytes rotted there."""
    try:
        return _article.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StorageFault(f"an article in the mirror cannot be read: {error}") from error


def _codes_of(article: Article) -> set[int]:
    """What the article can be scanned by. A code with a wrong check digit never comes out of a scanner: left out."""
    if article.deleted:
        return set()
    return {int(code) for written in article.gtins if (code := gtin.normalise(written)) is not None}


def _words_of(article: Article) -> str:
    return "" if article.deleted else " ".join(words(article.name))

"""Prices of articles as one catalogue version holds them, remembered between sales.

A look-up costs 10 us, and tills sell the same few hundred articles all day. For the event loop, on the mirror's own
read connection.
"""

import sqlite3
from collections.abc import Sequence

import msgspec

from appliance.domain.flags import Price

# What is remembered at most: some 1 MB. Beyond it everything is forgotten and read again.
PRICES_MAX = 4_096
# Parameters of one statement; SQLite takes 999 and more.
_ASKED_AT_ONCE = 500


class _Body(msgspec.Struct, frozen=True):
    price_minor: int
    currency: str


_body = msgspec.json.Decoder(_Body)


class Prices:
    """What articles cost. `forget` must be called when the mirror takes another version."""

    def __init__(self, reader: sqlite3.Connection) -> None:
        self._reader = reader
        self._version: int | None = None
        self._known: dict[str, Price | None] = {}

    def forget(self) -> None:
        """The catalogue may have changed."""
        self._version = None
        self._known = {}

    def at(self, version: int, articles: Sequence[str]) -> dict[str, Price | None] | None:
        """The prices that a catalogue version holds (None: it has no such article), at least of these articles.

        None when the mirror is at another version, or cannot be read: then nothing can be said. Not to be changed.
        """
        if not version:  # 0: there was no catalogue yet
            return None
        try:
            if self._version is None:
                (self._version,) = self._reader.execute("SELECT version FROM catalogue").fetchone()
            if version != self._version:
                return None
            if len(self._known) > PRICES_MAX:
                self._known = {}
            missing = [article for article in articles if article not in self._known]
            return self._known if not missing or self._read(version, missing) else None
        except (sqlite3.DatabaseError, msgspec.DecodeError, UnicodeDecodeError):
            return None  # the mirror says so itself, wherever it is asked; a sale needs no catalogue

    def _read(self, version: int, missing: list[str]) -> bool:
        for first in range(0, len(missing), _ASKED_AT_ONCE):
            asked = missing[first : first + _ASKED_AT_ONCE]
            marks = ",".join("?" * len(asked))
            # One statement, so that version and prices come out of one state of the file.
            rows = self._reader.execute(
                "SELECT c.version, a.article_id, a.body FROM catalogue c LEFT JOIN article a"  # noqa: S608  only marks
                f" ON a.article_id IN ({marks}) AND NOT a.deleted",
                asked,
            ).fetchall()
            if rows[0][0] != version:
                self.forget()
                return False
            self._known.update(dict.fromkeys(asked))
            for _, article, body in rows:
                if article is not None:
                    found = _body.decode(body)
                    self._known[article] = Price(found.price_minor, found.currency)
        return True

"""Deliberately broken parts of a simulated shop: what its oracle must catch. Each plants one mistake at a seam."""

import asyncio
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import aiosqlite

from appliance.domain.errors import BadEvent, CloudUnreachable
from appliance.domain.event import Position
from appliance.domain.statements import Keys
from appliance.runtime.clock import Clock
from appliance.services.drain import Drain, DrainStopped
from appliance.storage.outgoing import Outgoing, OutgoingBatch
from campaigns.simulation.card import Card
from campaigns.simulation.headoffice import HeadOffice
from campaigns.simulation.line import STRANGER
from campaigns.simulation.parts import Parts, PutBack
from cloud.ingest import Examined

COMMITS_AFTER_S = 0.5
TRIES_MAX = 3
WINDOW_S = 900.0
KNOWN_MAX = 20


class _Late:
    """Tells of a sale's COMMIT at once, and does it half a second later, or before the next BEGIN."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._of_sale = self._owes = False

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        """COMMIT of a sale is only noted; all else happens."""
        self._of_sale |= "INTO sale " in sql
        if sql == "COMMIT" and self._of_sale:
            self._of_sale, self._owes = False, True
            asyncio.get_running_loop().call_later(COMMITS_AFTER_S, self.pay)
            return self._connection.execute("SELECT 1")
        if sql == "BEGIN IMMEDIATE" or sql.startswith("PRAGMA"):
            self.pay()
        return self._connection.execute(sql, *values)

    def pay(self) -> None:
        """Commit what was called committed."""
        if self._owes:
            self._owes = False
            self._connection.execute("COMMIT")

    def close(self) -> None:
        """In good order."""
        self.pay()
        self._connection.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class LateCard(Card):
    """The journal is written by a connection that commits late."""

    def connected(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        """As it is for the first file that is opened, the journal; the mirror may stay whole."""
        connection = super().connected(connection)
        if len(self._connections) > 1:
            return connection
        return cast(sqlite3.Connection, _Late(connection))


class AckBeforeCommit(Parts):
    """The till hears its ack before the commit."""

    def card(self, folder: Path, rng: random.Random, cut: Callable[[str], None]) -> Card:
        """See Parts."""
        return LateCard(folder, rng, cut)


class RetryLimit(Parts):
    """The drain gives up after three tries."""

    class drain(Drain):
        """Counts tries in a row."""

        _tries = 0

        async def step(self) -> bool:
            """See Drain."""
            try:
                more = await super().step()
            except CloudUnreachable as error:
                self._tries += 1
                if self._tries >= TRIES_MAX:
                    raise DrainStopped("gave-up", str(error)) from error
                raise
            self._tries = 0
            return more


class DedupeWindow(Parts):
    """Head office knows an event or a sale for a quarter of an hour, then forgets that it had it."""

    class _Forgetful(HeadOffice):
        def __init__(self, box: str, keys: Keys, clock: Clock) -> None:
            super().__init__(box, keys, clock)
            self._seen_s: dict[bytes, float] = {}

        def _keep(self, examined: Examined) -> Position:
            now_s = self._clock.monotonic()
            chain = self.chains.setdefault(examined.head.epoch, [])
            fresh = [e for e in examined.events if now_s - self._seen_s.get(e.hash, -1e9) > WINDOW_S]
            for sealed, reading in zip(examined.events, examined.readings, strict=True):
                if sealed in fresh and reading.sale is not None and sealed.hash in self._seen_s:
                    self.sales.pop(reading.sale.sale_id, None)
            self._seen_s |= {sealed.hash: now_s for sealed in fresh}
            self.append(chain, fresh, examined)
            return examined.head.position

    def office(self, box: str, keys: Keys, clock: Clock) -> HeadOffice:
        """See Parts."""
        return self._Forgetful(box, keys, clock)


class DeleteWithoutReceipt(Parts):
    """Events leave the journal as soon as they were sent, receipt or not."""

    class _Deleting(Outgoing):
        journal: Path

        async def next_batch(self, *limits: Any) -> OutgoingBatch | None:
            """See Outgoing."""
            batch = await super().next_batch(*limits)
            if batch is not None and len(batch.bodies) > 1:
                eraser = sqlite3.connect(self.journal, isolation_level=None)
                eraser.execute(
                    "DELETE FROM event WHERE place < ?", ((batch.epoch << 40) | (batch.last_seq - 1),)
                )
                eraser.close()
            return batch

    def outgoing(self, reader: aiosqlite.Connection, journal: Path) -> Outgoing:
        """See Parts."""
        outgoing = self._Deleting(reader)
        outgoing.journal = journal
        return outgoing


class ForgetsSales(Parts):
    """The box knows the ids of its last few sales only."""

    class _Forgetting(Outgoing):
        journal: Path

        async def next_batch(self, *limits: Any) -> OutgoingBatch | None:
            """See Outgoing."""
            batch = await super().next_batch(*limits)
            if batch is not None:
                eraser = sqlite3.connect(self.journal, isolation_level=None)
                eraser.execute("DELETE FROM sale WHERE place < ?", (batch.end - KNOWN_MAX,))
                eraser.close()
            return batch

    def outgoing(self, reader: aiosqlite.Connection, journal: Path) -> Outgoing:
        """See Parts."""
        outgoing = self._Forgetting(reader)
        outgoing.journal = journal
        return outgoing


class CursorBeforeReceipt(Parts):
    """What was once handed to the line counts as delivered."""

    class _Hasty(Outgoing):
        _done: tuple[int, int] = (0, 0)

        async def next_batch(self, *limits: Any) -> OutgoingBatch | None:
            """See Outgoing."""
            batch = await super().next_batch(*limits)
            if batch is None:
                return None
            epoch, done = self._done
            if epoch == batch.epoch:
                if batch.last_seq <= done:
                    return None
                keep = batch.last_seq - done
                batch = batch._replace(bodies=batch.bodies[-keep:])
            self._done = (batch.epoch, batch.last_seq)
            return batch

    def outgoing(self, reader: aiosqlite.Connection, journal: Path) -> Outgoing:
        """See Parts."""
        return self._Hasty(reader)


class SeqReused(PutBack):
    """After a restore the box goes on in the same epoch, and head office takes a known (epoch, seq) for a copy."""

    class _Trusting(HeadOffice):
        def _keep(self, examined: Examined) -> Position:
            chain = self.chains.setdefault(examined.head.epoch, [])
            self.append(chain, [e for e in examined.events if e.link.seq > len(chain)], examined)
            return examined.head.position

    class drain(Drain):
        """Knows of no rollback."""

        def __init__(self, *parts: Any, rolled_back: str | None = None, **limits: Any) -> None:
            super().__init__(*parts, **limits)

    def office(self, box: str, keys: Keys, clock: Clock) -> HeadOffice:
        """See Parts."""
        return self._Trusting(box, keys, clock)


class JudgesContent(Parts):
    """Head office refuses a batch in which it cannot read an event."""

    class _Picky(HeadOffice):
        def _keep(self, examined: Examined) -> Position:
            if any(reading.fault is not None for reading in examined.readings):
                raise BadEvent("an event cannot be read")
            return super()._keep(examined)

    def office(self, box: str, keys: Keys, clock: Clock) -> HeadOffice:
        """See Parts."""
        return self._Picky(box, keys, clock)


class TrustsStrangers(Parts):
    """Head office takes the key of whoever sends a batch for the box's."""

    def office(self, box: str, keys: Keys, clock: Clock) -> HeadOffice:
        """See Parts."""
        return HeadOffice(box, {**keys, STRANGER.key_id: STRANGER.public_key}, clock)

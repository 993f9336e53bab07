"""The paired tills: which token belongs to whom. Only hashes of tokens are kept.

Without TLS `storebox pair` writes the file beside a running daemon, which reads it again when it meets a token that it
does not know. So a new token works at once, and a till's earlier token ends at the latest when the new one is first
used.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from appliance.domain.canonical import canonical
from appliance.domain.errors import ConfigError
from appliance.domain.pairing import SUCCESSION, TillRecord, TillRow
from appliance.runtime.files import write_whole

# The file held {SHA-256 of the token: till} before tills had keys; such tokens are bound to no certificate.
_File = list[TillRow] | dict[str, str]


class TillBook:
    """Implements services.ports.Tills on a file of TillRows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inherited = path.with_name("tills-inherited")
        self._rows: dict[str, TillRow] = {}
        self._by_token: dict[str, TillRow] = {}
        self._read_at: int | None = None
        self._writing = asyncio.Lock()

    def who(self, token_sha256: str, certificate_sha256: str | None) -> str | None:
        """See ports.Tills. Look-up by hash, so its time tells nothing of a token."""
        row = self._by_token.get(token_sha256)
        if row is None or row.certificate_sha256 != certificate_sha256:
            return None
        return row.till

    def unused(self, token_sha256: str) -> bool:
        """See ports.Tills."""
        row = self._by_token.get(token_sha256)
        return row is not None and not row.used

    async def mark_used(self, token_sha256: str) -> None:
        """See ports.Tills."""
        await self._change(
            lambda rows: {
                till: msgspec.structs.replace(row, used=True) if row.token_sha256 == token_sha256 else row
                for till, row in rows.items()
            }
        )

    async def refresh(self) -> None:
        """See ports.Tills."""
        async with self._writing:
            await asyncio.to_thread(self.load)

    def load(self) -> None:
        """Read the file if it has changed since. Raises ConfigError when it cannot be read as what it is; blocks."""
        try:
            changed_at = self._path.stat().st_mtime_ns
            if changed_at == self._read_at:
                return
            kept = msgspec.json.decode(self._path.read_bytes(), type=_File)
            self._read_at = changed_at
        except FileNotFoundError:
            kept = []
        except msgspec.DecodeError as error:
            raise ConfigError(f"{self._path}: {error}") from error
        self._take(
            [TillRow(till, digest) for digest, till in kept.items()] if isinstance(kept, dict) else kept
        )

    def rows(self) -> list[TillRow]:
        """See ports.Tills."""
        return [self._rows[till] for till in sorted(self._rows)]

    def inherited(self, spki: str) -> TillRow | None:
        """See ports.Tills."""
        waiting = (row for row in self._rows.values() if row.spki == spki and not row.used)
        return next((row for row in waiting if not row.token_sha256 or row.by == SUCCESSION), None)

    async def inherit(self, records: Sequence[TillRecord]) -> None:
        """See ports.Tills."""
        if records:
            async with self._writing:
                await asyncio.to_thread(self._inherit, records)

    async def put(self, row: TillRow) -> None:
        """See ports.Tills."""
        await self._change(lambda rows: {**rows, row.till: row})

    async def remove(self, till: str) -> bool:
        """See ports.Tills."""
        known = till in self._rows
        await self._change(lambda rows: {name: row for name, row in rows.items() if name != till})
        return known

    async def rename(self, till: str, name: str) -> bool:
        """See ports.Tills."""
        row = self._rows.get(till)
        if row is not None:
            await self.put(msgspec.structs.replace(row, name=name))
        return row is not None

    def pair(self, till: str) -> str:
        """A new token for a till, bound to no certificate, on disk when this returns; earlier ones end. Blocks."""
        token = secrets.token_urlsafe(32)
        self._write(lambda rows: {**rows, till: TillRow(till, hashlib.sha256(token.encode()).hexdigest())})
        return token

    def _inherit(self, records: Sequence[TillRecord]) -> None:
        digest = hashlib.sha256(canonical(records)).hexdigest()
        try:
            if self._inherited.read_text() == digest:
                return
        except FileNotFoundError:
            pass
        rows = {
            told.till: TillRow(told.till, spki=told.spki, name=told.name, by=SUCCESSION) for told in records
        }
        self._write(lambda known: {**rows, **known})
        # So that one which is revoked later does not come back at the next start.
        write_whole(self._inherited, digest.encode())

    async def _change(self, change: Callable[[dict[str, TillRow]], dict[str, TillRow]]) -> None:
        async with self._writing:
            await asyncio.to_thread(self._write, change)

    def _write(self, change: Callable[[dict[str, TillRow]], dict[str, TillRow]]) -> None:
        self.load()
        rows = list(change(self._rows).values())
        write_whole(self._path, canonical(rows))
        self._take(rows)

    def _take(self, rows: list[TillRow]) -> None:
        self._rows = {row.till: row for row in rows}
        self._by_token = {row.token_sha256: row for row in rows if row.token_sha256}

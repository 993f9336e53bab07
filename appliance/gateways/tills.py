"""The paired tills: which token belongs to whom. Only hashes of tokens are kept.

`storebox pair` writes the file; a running daemon reads it again when it meets a token that it does not know. So a new
token works at once, and a till's earlier token ends at the latest when the new one is first used.
"""

import asyncio
import hashlib
import secrets
from pathlib import Path

import msgspec

from appliance.domain.canonical import canonical
from appliance.domain.errors import ConfigError
from appliance.runtime.files import write_whole


class TillBook:
    """Implements services.ports.Tills on a file of {SHA-256 of the token (hex): till id}."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tills: dict[str, str] = {}
        self._read_at: int | None = None

    def till_of(self, token: str) -> str | None:
        """See ports.Tills. Look-up by hash, so its time tells nothing of a token."""
        return self._tills.get(hashlib.sha256(token.encode(errors="replace")).hexdigest())

    async def refresh(self) -> None:
        """See ports.Tills."""
        await asyncio.to_thread(self.load)

    def load(self) -> None:
        """Read the file if it has changed since. Raises ConfigError when it cannot be read as what it is; blocks."""
        try:
            changed_at = self._path.stat().st_mtime_ns
            if changed_at == self._read_at:
                return
            self._tills = msgspec.json.decode(self._path.read_bytes(), type=dict[str, str])
            self._read_at = changed_at
        except FileNotFoundError:
            self._tills = {}
        except msgspec.DecodeError as error:
            raise ConfigError(f"{self._path}: {error}") from error

    def pair(self, till: str) -> str:
        """A new token for a till, on disk when this returns; the till's earlier tokens end. Blocks."""
        self.load()
        token = secrets.token_urlsafe(32)
        kept = {key: name for key, name in self._tills.items() if name != till}
        self._tills = {**kept, hashlib.sha256(token.encode()).hexdigest(): till}
        write_whole(self._path, canonical(self._tills))
        return token

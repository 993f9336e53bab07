"""A technical log in memory. Implements services.ports.Recorder."""

from typing import Any

from appliance.domain.errors import StoreboxError


class Notes:
    """Keeps what it is told, unless it is in trouble."""

    def __init__(self) -> None:
        self.written: list[tuple[str, Any]] = []
        self.trouble: StoreboxError | None = None

    async def record(self, kind: str, data: Any, *, till: str | None = None) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.written.append((kind, data))

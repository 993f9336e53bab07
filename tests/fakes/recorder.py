"""A technical log in memory. Implements services.ports.Recorder."""

from typing import Any

from appliance.domain.errors import CannotAccept


class FakeRecorder:
    """Keeps what was recorded as (kind, data, till); `failure` is raised instead while it is set."""

    def __init__(self) -> None:
        self.recorded: list[tuple[str, Any, str | None]] = []
        self.failure: CannotAccept | None = None

    async def record(self, kind: str, data: Any, *, till: str | None = None) -> None:
        if self.failure is not None:
            raise self.failure
        self.recorded.append((kind, data, till))

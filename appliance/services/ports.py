"""What the services need of the outside. Gateways provide it; tests bring fakes that pass the same contract suite."""

from pathlib import Path
from typing import Any, Protocol

from appliance.domain.health import HostReading
from appliance.domain.wire import HeartbeatAnswer, OperationAnswer, OperationRequest, RescueAnswer, RescueView


class Cloud(Protocol):
    """Head office. Each call raises CloudUnreachable (try later; `fields['cause']` is a link Cause value) or

    CloudRefused (`fields['status']`, `fields['problem']`), and reports itself as a sample of the line.
    """

    async def probe(self) -> None:
        """Return once the cloud has answered a fresh nonce with its signature, over the drain's own connection."""
        ...

    async def send_batch(self, batch: bytes, nonce: str) -> bytes:
        """Deliver one packed batch (domain/batch.py); the receipt's envelope, not yet verified."""
        ...

    async def heartbeat(self, envelope: bytes) -> HeartbeatAnswer:
        """Tell how the box is."""
        ...

    async def policy(self) -> bytes:
        """The envelope of the policy in force, not yet verified."""
        ...

    async def fetch_catalogue(self, since: int | None, into: Path) -> None:
        """Download a transfer (None: the snapshot) as zstd into a file, replacing it. Raises SnapshotRequired."""
        ...

    async def operation(self, name: str, request: OperationRequest) -> OperationAnswer:
        """Ask for an online-only operation. Raises OutcomeUnknown when it may or may not have been done."""
        ...


class RescueCloud(Protocol):
    """Head office, for a dead box's card. Each call raises CloudUnreachable or CloudRefused."""

    async def look(self, box: str) -> RescueView:
        """What head office knows of that box."""
        ...

    async def send_rescued(self, box: str, batch: bytes) -> RescueAnswer:
        """Deliver a packed batch (domain/batch.py) of that box; kept when this returns."""
        ...


class Recorder(Protocol):
    """The technical log: events of the chain that are no sales."""

    async def record(self, kind: str, data: Any, *, till: str | None = None) -> None:
        """Append an event; on disk when this returns. Raises CannotAccept."""
        ...


class Tills(Protocol):
    """Which tills are paired."""

    def till_of(self, token: str) -> str | None:
        """The till that a token belongs to, or None, as far as is known here."""
        ...

    async def refresh(self) -> None:
        """Learn of tills paired since."""
        ...


class Host(Protocol):
    """The machine the box runs on."""

    def read(self) -> HostReading:
        """A reading right now; never blocks for longer than a system call."""
        ...

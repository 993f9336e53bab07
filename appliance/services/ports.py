"""What the services need of the outside. Gateways provide it; tests bring fakes that pass the same contract suite."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from appliance.domain.enrolling import RenewAnswer
from appliance.domain.health import HostReading
from appliance.domain.pairing import TillRecord, TillRow
from appliance.domain.wear import BoardReading
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


class UpdateCloud(Protocol):
    """Head office, for updates. Each call raises CloudUnreachable or CloudRefused."""

    async def offer(self) -> bytes:
        """The envelope of the update that the box may take, not yet verified."""
        ...

    async def fetch_piece(self, sha256: str, start: int, count: int, size: int) -> bytes:
        """So many bytes of a bundle of that size, from a place on; never more, and never none."""
        ...


class IdentityCloud(Protocol):
    """Head office, for what a box is. Each call raises CloudUnreachable or CloudRefused."""

    async def renew(self, envelope: bytes) -> RenewAnswer:
        """Have the enrolled keys certified anew."""
        ...

    async def keep_tills(self, tills: list[TillRecord]) -> None:
        """Tell which tills are paired, for a box that may take this one's place."""
        ...


class Recorder(Protocol):
    """The technical log: events of the chain that are no sales."""

    async def record(self, kind: str, data: Any, *, till: str | None = None) -> None:
        """Append an event; on disk when this returns. Raises CannotAccept."""
        ...


class Tills(Protocol):
    """Which tills are paired. Whatever changes them is on disk when it returns."""

    def who(self, token_sha256: str, certificate_sha256: str | None) -> str | None:
        """The till with this token on a connection that showed this certificate, as far as is known here.

        None for a certificate finds only tokens that are bound to none, a certificate only those bound to it.
        """
        ...

    def unused(self, token_sha256: str) -> bool:
        """Whether this token is known and nobody has shown it yet."""
        ...

    async def mark_used(self, token_sha256: str) -> None:
        """This token was shown: the answer that gave it did arrive."""
        ...

    async def refresh(self) -> None:
        """Learn of tills paired since."""
        ...

    def rows(self) -> list[TillRow]:
        """All tills, those that were inherited too, by name."""
        ...

    def inherited(self, spki: str) -> TillRow | None:
        """The till with this key that the box before this one had paired, until it has used a token of this one."""
        ...

    async def inherit(self, records: Sequence[TillRecord]) -> None:
        """Know the tills of the box before this one, once for all; those that are known already stay as they are."""
        ...

    async def put(self, row: TillRow) -> None:
        """Keep a till; what was known of the till of that name ends."""
        ...

    async def remove(self, till: str) -> bool:
        """Forget a till; whether it was known."""
        ...

    async def rename(self, till: str, name: str) -> bool:
        """Give a till another name for people; whether it was known."""
        ...


class LanKeys(Protocol):
    """The keys with which a box serves its LAN. All certificates and keys are PEM."""

    @property
    def spki(self) -> str:
        """The hash of its TLS key: what tills pin."""
        ...

    def tls_key_pem(self) -> bytes:
        """Its one TLS key."""
        ...

    def lan_issuer(self) -> tuple[bytes, EllipticCurvePrivateKey]:
        """The intermediate that the chain gave it (with the issuing certificate behind), and its key."""
        ...

    def till_issuer(self) -> tuple[bytes, EllipticCurvePrivateKey]:
        """The authority that certifies its tills' keys, believed by this box alone, and its key."""
        ...

    def vouch(self) -> bytes:
        """The envelope of its TlsKey, by its event key."""
        ...


class Host(Protocol):
    """The machine the box runs on."""

    def read(self) -> HostReading:
        """A reading right now; never blocks for longer than a system call."""
        ...


class Board(Protocol):
    """What the machine says of its own wear and power."""

    def read(self) -> BoardReading:
        """A look right now; never blocks for longer than a system call."""
        ...

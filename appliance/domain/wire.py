"""The messages between till, box and cloud (docs/PROTOCOL.md). Parsed and rendered from these types alone.

Those by which they come to know each other are in `pairing.py` and `enrolling.py`.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from appliance.domain.catalogue import Article
from appliance.domain.dsse import Envelope
from appliance.domain.health import MachineView
from appliance.domain.keychain import Rotation
from appliance.domain.sale import Mode, Sale, SaleId
from appliance.domain.update import UpdateView

# Media types of bodies that are not plain JSON.
ENVELOPE_MEDIA = "application/vnd.dsse.envelope.v1+json"
BATCH_MEDIA = "application/vnd.storebox.batch.v1+zstd"
CATALOGUE_MEDIA = "application/vnd.storebox.catalogue.v1+zstd"
BUNDLE_MEDIA = "application/vnd.rauc.bundle"

# One batch on the wire, before compression; also what the cloud unpacks at most.
BATCH_EVENTS_MAX = 4_096
BATCH_BYTES_MAX = 8 * 1024 * 1024

NONCE_HEADER = "Storebox-Nonce"
Nonce = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$(?!\n)", description="128 random bits in hex")]


# --- till and box


class Hello(msgspec.Struct, frozen=True):
    """What anybody on the LAN may know of a box.

    `key` is its public key (PEM): `fp` follows from it, and it proves signed heads; `box` follows from its first key,
    from which `rotations` lead to this one. `spki` is the hash of its TLS key, `vouch` its signed TlsKey; a box that
    took another's place shows the signed `succession`. An unclaimed one is of no shop.
    """

    box: str
    shop: str
    name: str
    software: str
    fp: str
    key: str
    api: int = 1
    state: Literal["unclaimed", "ready"] = "ready"
    tls: bool = False
    spki: str = ""
    pairing: bool = False
    vouch: Envelope | None = None
    rotations: list[Rotation] = []
    succession: Envelope | None = None


class Ack(msgspec.Struct, frozen=True):
    """The answer to a sale: it is on the box's disk, at this place of the chain. A replay gets the same bytes.

    `head` is the signed head (a DSSE envelope) of the commit group: it vouches for this sale and all before it.
    """

    sale_id: SaleId
    box: str
    epoch: int
    seq: int
    hash: str
    accepted_at: str
    flags: list[str]
    head: msgspec.Raw
    status: Literal["accepted"] = "accepted"


class TrialAnswer(msgspec.Struct, frozen=True):
    """A sale on trial is on disk, in a chain of its own: under this key (PEM), which vouches for nothing else."""

    key: str
    ack: Ack


class SaleView(msgspec.Struct, frozen=True):
    """A sale looked up: its ack, whether the cloud holds it, and the sale itself."""

    ack: Ack
    synced: bool
    sale: Sale


class ArticlesView(msgspec.Struct, frozen=True):
    """Articles found, the catalogue version they come from, and how old the box's knowledge of it is."""

    version: int
    age_s: float
    articles: list[Article]


class ModeView(msgspec.Struct, frozen=True):
    """What the box proposes to its tills, and why. Sent as SSE event `mode`."""

    mode: Mode
    link: str
    cause: str
    changed_at: str


class SyncedView(msgspec.Struct, frozen=True):
    """Everything up to here is in the cloud. Sent as SSE event `synced`."""

    epoch: int
    seq: int


class CatalogueView(msgspec.Struct, frozen=True):
    """The catalogue version in force. Sent as SSE event `catalogue`."""

    version: int


class JournalView(msgspec.Struct, frozen=True):
    """The journal in numbers; `backlog` counts the events that the cloud has not receipted."""

    epoch: int
    seq: int
    head: str
    synced_seq: int
    backlog: int
    oldest_waiting_s: float


class Status(msgspec.Struct, frozen=True):
    """The box, for people and programs. Counts are since start; `flags` by flag of a sale, those that occurred."""

    box: str
    shop: str
    software: str
    state: Literal["online", "degraded", "offline", "read-only", "fork"]
    uptime_s: float
    mode: ModeView
    journal: JournalView
    catalogue_version: int
    catalogue_age_s: float
    articles: int
    policy_version: int
    tills_seen: int
    issues: list[str]
    sales_accepted: int
    sales_replayed: int
    sales_conflicting: int
    sales_flagged: int
    operations_refused: int
    operations_passed: int
    flags: dict[str, int] = {}
    update: UpdateView = UpdateView()
    machine: MachineView = MachineView()


class Ready(msgspec.Struct, frozen=True):
    """The answer of /livez and /readyz."""

    status: Literal["live", "ready"]


class WitnessAnswer(msgspec.Struct, frozen=True):
    """What became of a signed head that a till showed, and where the journal ends.

    `rolled_back`: the journal lacks that head, although this box signed it; the box names it from now on.
    """

    rolled_back: bool
    epoch: int
    seq: int
    head: str


class ExportNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The journal was exported: where it ended then, and how many events the export holds."""

    epoch: int
    seq: int
    events: int


class OperationRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An online-only operation. `operation_id` makes asking again safe."""

    operation_id: SaleId
    data: dict[str, Any] = {}


class OperationAnswer(msgspec.Struct, frozen=True):
    """The cloud did it (once, however often it was asked)."""

    operation_id: str
    operation: str
    at: str


# --- box (or till) and cloud


class ProbeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question that only the cloud can answer."""

    nonce: Nonce


class PairingOrder(msgspec.Struct, frozen=True):
    """Head office opens the pairing window of a box for `left_s`, with a secret that it shows as a QR code."""

    order: str
    secret: str
    left_s: float


class HeartbeatAnswer(msgspec.Struct, frozen=True):
    """What the box should look at next; `offer` is the number of the update that it may fetch, 0: none."""

    next_s: float
    catalogue_version: int
    policy_version: int
    pairing: PairingOrder | None = None
    offer: int = 0


class CloudSaleAnswer(msgspec.Struct, frozen=True):
    """A sale sent straight to the cloud is stored there."""

    sale_id: SaleId
    stored_at: str
    status: Literal["synced"] = "synced"


class CloudSaleRow(msgspec.Struct, frozen=True):
    """One sale as head office holds it; `copies` counts how often it arrived, over all ways, and was known."""

    sale_id: str
    sha256: str
    till_id: str
    business_date: str
    ticket_number: int
    total_minor: int
    currency: str
    via: Literal["box", "till"]
    copies: int


class EpochRow(msgspec.Struct, frozen=True):
    """The end of one epoch of a box, as the cloud holds it."""

    box: str
    epoch: int
    seq: int
    head: str


class RescueView(msgspec.Struct, frozen=True):
    """What head office knows of a box whose card is being rescued: its key (PEM), and how far its epochs are there."""

    box: str
    shop: str
    public_key: str
    epochs: list[EpochRow]


class RescueAnswer(msgspec.Struct, frozen=True):
    """A batch off a dead box's card is kept, up to `seq`; `added` counts what was new.

    `loose`: it stands behind events that head office does not have, so it is kept beside the chain.
    """

    epoch: int
    seq: int
    added: int
    loose: bool

"""All that a small honest box knows, what a test does to it, and what it signs; till_box.py answers with it."""

import asyncio
from datetime import UTC, datetime

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.domain.catalogue import Article
from appliance.domain.dsse import Signer
from appliance.domain.errors import StoreboxError
from appliance.domain.event import GENESIS, ClockReading, Position, seal
from appliance.domain.flags import flags
from appliance.domain.identity import box_id
from appliance.domain.link import Cause, Link, LinkState
from appliance.domain.sale import Mode, Sale
from appliance.domain.statements import HEAD_TYPE, Head, sign
from appliance.domain.wire import Ack, CatalogueView, Hello, ModeView, SyncedView
from appliance.runtime.keyfile import public_pem
from tests.fakes.till_peers import AT, TOKEN


class BoxState:
    """The chain, the sales, the catalogue and the mode of a box; whoever listens hears what changes."""

    def __init__(self, seed: int = 1, token: str = TOKEN) -> None:
        self.signer = Signer(Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32)))
        self.id = box_id(self.signer.public_key)
        self.token = token
        self.end = Position(1, 0, GENESIS)
        self.acks: dict[str, bytes] = {}
        self.sales: dict[str, Sale] = {}
        self.posted: list[bytes] = []
        self.shown: list[Head] = []
        self.refusing_witness: StoreboxError | None = None
        self.operations: list[str] = []
        self.synced_seq = 0
        self.articles: dict[int, list[Article]] = {}
        self.failing: StoreboxError | None = None
        self.hang_ups = 0  # so many sales are met with a closed connection
        self.look_ups_refused = 0  # so many look-ups are answered that it is not ready
        self.tokens_seen: set[str] = set()
        self.url = ""
        self._mode = ModeView("cloud", "online", "ok", AT)
        self._changes = 0
        self._streams: set[asyncio.Queue[tuple[str, msgspec.Struct]]] = set()

    # --- what a test does to it

    def propose(self, mode: Mode, cause: str) -> None:
        """Change the mode that it proposes; the line is what the mode says."""
        self._changes += 1
        link = "online" if mode == "cloud" else "offline"
        changed_at = datetime(2026, 11, 22, 9, 0, self._changes, tzinfo=UTC).isoformat()
        self._mode = ModeView(mode, link, cause, changed_at)
        self._tell("mode", self._mode)

    def sync(self, seq: int | None = None) -> None:
        """The cloud has everything up to there (or all)."""
        self.synced_seq = self.end.seq if seq is None else seq
        self._tell("synced", SyncedView(self.end.epoch, self.synced_seq))

    def publish(self, version: int, articles: list[Article]) -> None:
        """A new version of the catalogue, whole."""
        self.articles[version] = articles
        self._tell("catalogue", CatalogueView(version))

    def forget(self, sale_id: str) -> None:
        """Lose a sale, as a card that lied about flushing does; the chain goes on in a new epoch."""
        del self.acks[sale_id], self.sales[sale_id]
        self.end = Position(self.end.epoch + 1, 0, GENESIS)

    @property
    def listeners(self) -> int:
        """How many event streams are open."""
        return len(self._streams)

    # --- what it signs

    def hello(self) -> Hello:
        """Its greeting."""
        key = public_pem(self.signer.public_key)
        return Hello(self.id, "shop-1", "Storebox shop-1", "fake", self.signer.key_id, key)

    def ack(self, sale: Sale) -> Ack:
        """Seal a sale into the chain, and vouch for it."""
        clock = ClockReading("synced", "boot-1", 1)
        sealed = seal(
            self.end,
            box=self.id,
            kind="sale",
            till=sale.till_id,
            at=AT,
            clock=clock,
            data=msgspec.Raw(sale.encode()),
        )
        self.end = Position(self.end.epoch, sealed.link.seq, sealed.hash)
        head = sign(self.signer, HEAD_TYPE, Head(self.id, self.end.epoch, self.end.seq, sealed.hash.hex()))
        return Ack(
            sale.sale_id,
            self.id,
            self.end.epoch,
            self.end.seq,
            sealed.hash.hex(),
            AT,
            flags(sale),
            msgspec.Raw(head),
        )

    # --- what its answers are made of

    def _link(self) -> Link:
        online = self._mode.mode == "cloud"
        return Link(
            LinkState.ONLINE if online else LinkState.OFFLINE, Cause.OK if online else Cause.NO_ANSWER
        )

    def _tell(self, topic: str, view: msgspec.Struct) -> None:
        for stream in self._streams:
            stream.put_nowait((topic, view))

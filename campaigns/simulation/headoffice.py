"""Head office in memory, with the real decisions: `cloud.ingest` judges, `cloud.projection` reads, a dict keeps.

Its catalogue has many versions. What `take` and `sell` did is kept whatever the line does to the answer, and through
a restart.
"""

import random
from collections import Counter

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.domain.canonical import canonical
from appliance.domain.catalogue import Article, Lead, pack_transfer, write_transfer
from appliance.domain.dsse import Signer
from appliance.domain.errors import CloudRefused, SnapshotRequired, StoreboxError
from appliance.domain.event import GENESIS, Position, Sealed
from appliance.domain.gate import BUILT_IN
from appliance.domain.sale import parse_sale
from appliance.domain.statements import POLICY_TYPE, RECEIPT_TYPE, Keys, Receipt, sign
from appliance.domain.wire import OperationAnswer, OperationRequest
from appliance.runtime.clock import Clock, rfc3339
from cloud.ingest import Examined, decide, examine
from cloud.projection import project, sale_digest
from cloud.store_exceptions import Note

ARTICLES = 20
# Who asks for changes since an older version than that gets all of it.
CHANGES_KEPT = 4


class HeadOffice:
    """The books of one box and its shop's tills. `sales`: digest by sale id; `stored`: how often each was stored.

    `held_s` says since when it holds an event, by its epoch and seq. `catalogues` are all versions there ever were,
    the last one in force.
    """

    def __init__(self, box: str, box_keys: Keys, clock: Clock) -> None:
        self.signer = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(64, 96))))
        self.keys: Keys = {self.signer.key_id: self.signer.public_key}
        self.signed_policy = sign(self.signer, POLICY_TYPE, BUILT_IN)
        self.chains: dict[int, list[Sealed]] = {}
        self.sales: dict[str, bytes] = {}
        self.stored: Counter[str] = Counter()
        self.held_s: dict[tuple[int, int], float] = {}
        self.catalogues: list[dict[str, Article]] = [{f"a-{n}": _article(n, 1_000) for n in range(ARTICLES)}]
        self.notes: list[Note] = []
        self.operations: dict[str, tuple[str, bytes, OperationAnswer]] = {}
        self.box = box
        self._box_keys = box_keys
        self._clock = clock

    def take(self, packed: bytes, nonce: str) -> bytes:
        """A batch of events: the receipt's envelope. Raises CloudRefused as the real API answers."""
        try:
            examined = examine(packed, self._box_keys, box=self.box)
            end = self._keep(examined)
        except StoreboxError as error:
            raise CloudRefused(str(error), status=409, problem=error.code) from error
        at = rfc3339(self._clock.wall())
        receipt = Receipt(self.box, end.epoch, end.seq, end.head.hex(), at, nonce)
        return sign(self.signer, RECEIPT_TYPE, receipt)

    def sell(self, body: bytes) -> None:
        """A sale straight from a till. Raises CloudRefused for other content under a known id."""
        sale = parse_sale(body)
        digest = sale_digest(sale)
        if sale.sale_id not in self.sales:
            self.sales[sale.sale_id] = digest
            self.stored[sale.sale_id] += 1
        elif self.sales[sale.sale_id] != digest:
            raise CloudRefused("the id has other content", status=409, problem="sale-conflict")

    def perform(self, name: str, request: OperationRequest) -> OperationAnswer:
        """An online-only operation, done once."""
        said = canonical(request)
        answer = OperationAnswer(request.operation_id, name, rfc3339(self._clock.wall()))
        known_name, known, answer = self.operations.setdefault(request.operation_id, (name, said, answer))
        if (known_name, known) != (name, said):
            raise CloudRefused("another operation has this id", status=409, problem="operation-conflict")
        return answer

    @property
    def version(self) -> int:
        """The catalogue's version in force."""
        return len(self.catalogues)

    def publish(self, rng: random.Random) -> None:
        """A new version of the catalogue: some prices change."""
        changed = {f"a-{n}": _article(n, rng.randint(50, 9_999)) for n in rng.sample(range(ARTICLES), 5)}
        self.catalogues.append(self.catalogues[-1] | changed)

    def transfer(self, since: int | None) -> bytes:
        """The catalogue, packed, or what changed since a version. Raises SnapshotRequired."""
        if since is None:
            before: dict[str, Article] = {}
        elif not self.version - CHANGES_KEPT <= since <= self.version:
            raise SnapshotRequired(version=self.version)
        else:
            before = self.catalogues[since - 1]
        changed = [article for name, article in self.catalogues[-1].items() if before.get(name) != article]
        return b"".join(pack_transfer(write_transfer(Lead(self.version, since), changed)))

    def end_of(self, epoch: int) -> Position:
        """Where an epoch ends in the books."""
        chain = self.chains.get(epoch)
        return Position(epoch, chain[-1].link.seq, chain[-1].hash) if chain else Position(epoch, 0, GENESIS)

    def _keep(self, examined: Examined) -> Position:
        epoch, events = examined.head.epoch, examined.events
        chain = self.chains.setdefault(epoch, [])
        first = events[0].link.seq
        repeated = {sealed.link.seq: sealed.hash for sealed in chain[first - 1 : examined.head.seq]}
        fresh = decide(self.end_of(epoch), repeated, events, box=self.box)
        self.append(chain, fresh, examined)
        return self.end_of(epoch)

    def append(self, chain: list[Sealed], fresh: list[Sealed], examined: Examined) -> None:
        """Store events and what they mean."""
        chain.extend(fresh)
        now_s = self._clock.monotonic()
        self.held_s |= {(sealed.link.epoch, sealed.link.seq): now_s for sealed in fresh}
        readings = examined.readings[len(examined.events) - len(fresh) :]
        ids = [reading.sale.sale_id for reading in readings if reading.sale is not None]
        known = {sale_id: self.sales[sale_id] for sale_id in ids if sale_id in self.sales}
        found = project(self.box, fresh, readings, known, at=rfc3339(self._clock.wall()))
        self.notes += found.notes
        for row in found.sales:
            self.stored[row.sale_id] += 1
        for reading in readings:
            if reading.sale is not None:
                self.sales.setdefault(reading.sale.sale_id, reading.sha256)


def _article(number: int, price_minor: int) -> Article:
    return Article(f"a-{number}", f"Article {number}", price_minor, "EUR", 2_000)

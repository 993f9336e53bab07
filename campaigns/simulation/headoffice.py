"""Head office in memory, with the real decisions: `cloud.ingest` judges, `cloud.projection` reads, a dict keeps.

What `take` and `sell` did is kept whatever the line does to the answer, and through a restart.
"""

from collections import Counter

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.domain.canonical import canonical
from appliance.domain.dsse import Signer
from appliance.domain.errors import CloudRefused, StoreboxError
from appliance.domain.event import GENESIS, Position, Sealed
from appliance.domain.gate import BUILT_IN
from appliance.domain.sale import parse_sale
from appliance.domain.statements import POLICY_TYPE, RECEIPT_TYPE, Keys, Receipt, sign
from appliance.domain.wire import OperationAnswer, OperationRequest
from appliance.runtime.clock import Clock, rfc3339
from cloud.ingest import Examined, decide, examine
from cloud.projection import project, sale_digest
from cloud.store_exceptions import Note


class HeadOffice:
    """The books of one box and its shop's tills. `sales`: digest by sale id; `stored`: how often each was stored."""

    def __init__(self, box: str, box_keys: Keys, clock: Clock) -> None:
        self.signer = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(64, 96))))
        self.keys: Keys = {self.signer.key_id: self.signer.public_key}
        self.policy = sign(self.signer, POLICY_TYPE, BUILT_IN)
        self.chains: dict[int, list[Sealed]] = {}
        self.sales: dict[str, bytes] = {}
        self.stored: Counter[str] = Counter()
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

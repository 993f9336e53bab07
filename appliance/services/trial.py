"""A sale on trial: the whole way of a sale, from HTTP to the fsync, into a chain of its own.

The chain stands in a file of its own under a name and a key of its own, made for this one sale: nothing of it is ever
sent, and its signed head can be taken for none of the box's.
"""

import asyncio
import uuid
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.domain.dsse import Signer
from appliance.domain.identity import box_id
from appliance.domain.sale import Line, Sale, Tender, VatTotal, read_sale
from appliance.domain.wire import TrialAnswer
from appliance.runtime.clock import Clock, rfc3339
from appliance.runtime.keyfile import public_pem
from appliance.services.gate import Gate
from appliance.services.operations import Operations
from appliance.services.ports import Cloud
from appliance.services.selling import Selling
from appliance.storage.commit import Sealer
from appliance.storage.journal import open_journal


class Trial:
    """Sells into a file that is begun anew each time."""

    def __init__(self, path: Path, gate: Gate, cloud: Cloud, clock: Clock) -> None:
        self._path = path
        self._gate = gate
        self._cloud = cloud
        self._clock = clock
        self._turn = asyncio.Lock()

    async def sell(self, body: bytes) -> TrialAnswer:
        """Store a sale as if it were a till's, and on disk when this returns. Raises as a sale does."""
        sale, written = read_sale(body)
        async with self._turn:
            await asyncio.to_thread(self._begin_anew)
            signer = Signer(await asyncio.to_thread(Ed25519PrivateKey.generate))
            box = box_id(signer.public_key)
            sealer = Sealer(box, signer, self._clock)
            async with open_journal(self._path, sealer, opening="trial") as journal:
                operations = Operations(self._gate, self._cloud, journal)
                ack, _ = await Selling(journal, self._gate, operations, box).accept(
                    sale, sale.till_id, written
                )
        return TrialAnswer(public_pem(signer.public_key), ack)

    def _begin_anew(self) -> None:
        for side in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + side).unlink(missing_ok=True)


def trial_sale(now: datetime, noise: int) -> Sale:
    """One article at 1.20 with 20 % VAT, paid in cash; `noise` are 62 random bits for its id (RFC 9562 section 5.7)."""
    moment = int(now.timestamp() * 1_000)
    number = uuid.UUID(int=moment << 80 | 0x7 << 76 | 0b10 << 62 | noise)
    at = rfc3339(now)
    return Sale(
        sale_id=str(number),
        till_id="trial",
        ticket_number=1,
        business_date=at[:10],
        started_at=at,
        ended_at=at,
        operator_id="trial",
        currency="EUR",
        mode="local",
        lines=[
            Line(
                "sale", "trial", "1", unit_price_minor=120, gross_minor=120, net_minor=100, vat_rate_bp=2_000
            )
        ],
        tenders=[Tender("cash", 120)],
        vat_totals=[VatTotal(2_000, 120, 100)],
        total_minor=120,
    )

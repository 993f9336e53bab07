"""Sale number N of a campaign: the same bytes in every process, so that nobody has to pass sales around."""

import functools
import random
import uuid
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.domain.dsse import Signer
from appliance.domain.event import ClockReading
from appliance.domain.identity import box_id
from appliance.domain.sale import Line, Sale, Tender, VatTotal
from appliance.domain.statements import Keys
from appliance.runtime.clock import SystemClock, rfc3339
from appliance.storage.commit import Draft, Sealer

# A process that made them once hands them to all that it forks.
DRAFTS_KEPT = 4_096
OPENING = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


class StandingClock(SystemClock):
    """The time never passes: equal seeds then give equal bytes, down to each page of the file."""

    def wall(self) -> datetime:
        """The opening of the shop."""
        return OPENING

    def reading(self) -> ClockReading:
        """One and the same reading."""
        return ClockReading("synced", "boot-1", 1)


# The keys of a campaign are no secrets: anybody may replay it.
BOX_SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
CLOUD_SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64))))
BOX = box_id(BOX_SIGNER.public_key)
BOX_KEYS: Keys = {BOX_SIGNER.key_id: BOX_SIGNER.public_key}
SEALER = Sealer(BOX, BOX_SIGNER, StandingClock())


def sale_of(number: int) -> Sale:
    """A ticket of 1 to 6 lines, one in forty of 60: most fit a page, some need many."""
    rng = random.Random(number)
    lines = [_line(rng) for _ in range(60 if number % 40 == 39 else rng.randint(1, 6))]
    total_minor = sum(line.gross_minor for line in lines)
    ended = OPENING + timedelta(seconds=number)
    return Sale(
        sale_id=_id_of(number, rng),
        till_id=f"T{number % 3}",
        ticket_number=number // 3 + 1,
        business_date=OPENING.date().isoformat(),
        started_at=rfc3339(ended - timedelta(seconds=1)),
        ended_at=rfc3339(ended),
        operator_id="op-1",
        currency="EUR",
        mode="local",
        lines=lines,
        tenders=[Tender("card", total_minor)],
        vat_totals=[VatTotal(2_000, total_minor, sum(line.net_minor for line in lines))],
        total_minor=total_minor,
    )


@functools.lru_cache(DRAFTS_KEPT)
def draft_of(number: int) -> Draft:
    """Sale number N as selling hands it to the journal."""
    sale = sale_of(number)
    body = sale.encode()
    return Draft("sale", b'{"flags":[],"sale":%b}' % body, sale.till_id, sale.key, body)


def _id_of(number: int, rng: random.Random) -> str:
    # RFC 9562 section 5.7: a UUIDv7, one per millisecond, so that they grow.
    millis = int(OPENING.timestamp() * 1_000) + number
    return str(uuid.UUID(int=millis << 80 | 0x7 << 76 | 0b10 << 62 | rng.getrandbits(62)))


def _line(rng: random.Random) -> Line:
    price_minor = rng.choice([199, 550, 999, 1_299])
    return Line(
        line_type="sale",
        article_id=f"a-{rng.randint(1, 99_999)}",
        quantity="1",
        unit_price_minor=price_minor,
        gross_minor=price_minor,
        net_minor=round(price_minor / 1.2),
        vat_rate_bp=2_000,
    )

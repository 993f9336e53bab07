"""Sales as a till would send them: right in every sum unless a test says otherwise."""

import itertools
import random
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from appliance.domain import money
from appliance.domain.sale import Adjustment, Line, Sale, Tender, VatTotal
from appliance.runtime.clock import rfc3339
from tests.fakes.clock import OPENING

_numbers = itertools.count(1)


def a_sale_id(number: int | None = None, *, at: datetime = OPENING, rng: random.Random | None = None) -> str:
    """A UUIDv7. The same number gives the same id; without one, the next that no test has had in this process."""
    number = next(_numbers) if number is None else number
    noise = rng.getrandbits(62) if rng else 0x1234_5678_9ABC_DEF
    millis = int(at.timestamp() * 1_000) + number
    # RFC 9562 section 5.7: 48 bits of Unix milliseconds, version 7, 12 bits, variant 10, 62 bits.
    value = millis << 80 | 0x7 << 76 | (number & 0xFFF) << 64 | 0b10 << 62 | noise
    return str(uuid.UUID(int=value))


def a_line(**overrides: Any) -> Line:
    """One pair of socks at 12.99, 20 % VAT in it; gross and net follow from what is overridden."""
    fields: dict[str, Any] = {
        "line_type": "sale",
        "article_id": "socks-42",
        "quantity": "1",
        "unit_price_minor": 1_299,
        "vat_rate_bp": 2_000,
        **overrides,
    }
    amount = money.quantity(fields["quantity"])
    if "gross_minor" not in fields:
        assert amount is not None, "a quantity that cannot be read needs a gross_minor of its own"
        adjusted = sum(adjustment.amount_minor for adjustment in fields.get("adjustments", []))
        fields["gross_minor"] = money.times(fields["unit_price_minor"], amount) + adjusted
    fields.setdefault("net_minor", money.net_of(fields["gross_minor"], fields["vat_rate_bp"]))
    return Line(**fields)


def vat_totals_of(lines: Iterable[Line]) -> list[VatTotal]:
    """The totals per VAT rate of the lines that are not voided, lowest rate first."""
    gross: defaultdict[int, int] = defaultdict(int)
    net: defaultdict[int, int] = defaultdict(int)
    for line in lines:
        if not line.voided:
            gross[line.vat_rate_bp] += line.gross_minor
            net[line.vat_rate_bp] += line.net_minor
    return [VatTotal(rate, gross[rate], net[rate]) for rate in sorted(gross)]


def a_sale(**overrides: Any) -> Sale:
    """A sale of one line, paid in cash, under an id of its own. Totals follow from the lines unless overridden."""
    lines: list[Line] = overrides.get("lines") or [a_line()]
    total_minor = overrides.get("total_minor", sum(line.gross_minor for line in lines if not line.voided))
    fields: dict[str, Any] = {
        "till_id": "till-1",
        "ticket_number": 1,
        "business_date": OPENING.date().isoformat(),
        "started_at": rfc3339(OPENING),
        "ended_at": rfc3339(OPENING + timedelta(seconds=40)),
        "operator_id": "op-7",
        "currency": "EUR",
        "mode": "local",
        "lines": lines,
        "tenders": [Tender("cash", total_minor)],
        "vat_totals": vat_totals_of(lines),
        "total_minor": total_minor,
        **overrides,
    }
    return Sale(**({"sale_id": a_sale_id()} | fields))


def a_sale_json(*, without: Iterable[str] = (), **overrides: Any) -> bytes:
    """The body of a sale. Overrides are JSON values, wrong ones and unknown fields too; `without` leaves some out."""
    body = msgspec.to_builtins(a_sale()) | overrides
    return msgspec.json.encode({key: value for key, value in body.items() if key not in set(without)})


def a_trading_day(
    rng: random.Random, n: int, *, tills: Sequence[str] = ("till-1", "till-2", "till-3")
) -> list[Sale]:
    """`n` sales of one day in the order they ended, ticket numbers gapless per till; the same seed, the same day."""
    at = OPENING
    tickets = dict.fromkeys(tills, 0)
    day = []
    for number in range(n):
        at += timedelta(seconds=rng.uniform(2, 40))
        till_id = rng.choice(list(tills))
        tickets[till_id] += 1
        lines = [_any_line(rng) for _ in range(rng.randint(1, 8))]
        total_minor = sum(line.gross_minor for line in lines if not line.voided)
        day.append(
            a_sale(
                sale_id=a_sale_id(number, at=at, rng=rng),
                till_id=till_id,
                ticket_number=tickets[till_id],
                started_at=rfc3339(at - timedelta(seconds=rng.uniform(10, 120))),
                ended_at=rfc3339(at),
                operator_id=f"op-{rng.randint(1, 9)}",
                lines=lines,
                tenders=_any_tenders(rng, total_minor),
                catalogue_version=rng.choice([None, 41, 42]),
                customer_id=rng.choice([None, None, f"c-{rng.randint(1, 999)}"]),
            )
        )
    return day


def _any_line(rng: random.Random) -> Line:
    price_minor = rng.choice([199, 550, 999, 1_299, 4_990])
    discount = [Adjustment("promotion", -rng.randint(1, 100))] if rng.random() < 0.2 else []
    returned = rng.random() < 0.05
    quantity = rng.choice(["1", "1", "1", "2", "3", "0.350", "1.275"])
    return a_line(
        line_type="return" if returned else "sale",
        article_id=f"a-{rng.randint(1, 500)}",
        quantity=f"-{quantity}" if returned else quantity,
        unit_price_minor=price_minor,
        vat_rate_bp=rng.choice([550, 1_000, 2_000]),
        adjustments=[] if returned else discount,
        voided=rng.random() < 0.05,
    )


def _any_tenders(rng: random.Random, total_minor: int) -> list[Tender]:
    if total_minor <= 0 or rng.random() < 0.5:
        return [Tender("card", total_minor)]
    given_minor = -(-total_minor // 500) * 500
    change = [Tender("cash", total_minor - given_minor)] if given_minor != total_minor else []
    return [Tender("cash", given_minor), *change]

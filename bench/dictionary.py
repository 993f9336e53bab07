"""Train the dictionary that event bodies are packed against: `python -m bench.dictionary FILE`.

A dictionary that journals were written with never changes; this makes the next one, under the next number
(appliance/storage/packing.py). It learns from events of every kind in docs/EVENTS.md, most of them sales: with and
without names, codes, adjustments and customers, of tills, boxes and catalogues that are all different; and from the
signed heads over them.
"""

import itertools
import random
import sys
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from appliance.domain.canonical import canonical
from appliance.domain.dsse import Signer
from appliance.domain.event import GENESIS, ClockReading, Position, seal
from appliance.domain.sale import Adjustment, Line, Sale
from appliance.domain.statements import HEAD_TYPE, Head, sign
from appliance.runtime.clock import rfc3339
from appliance.storage.commit import sale_data
from bench.sales import OPENING, make_sales
from cloud.articles import make_articles

SEED = 20_261_122
BYTES = 8 * 1024
NUMBER = 1
BOXES, SALES_OF_A_BOX = 60, 60

# The bits of a UUIDv7 that are always the same (RFC 9562 section 5.7).
_V7_ON, _V7_OFF = 0x7 << 76 | 0b10 << 62, ~(0xF << 76 | 0b11 << 62)
_WORDS = [
    "Chemise",
    "Robe",
    "Pull",
    "Veste",
    "Sac",
    "Bonnet",
    "Lot de 2",
    "Coton",
    "Noir",
    "Bleu",
    "Rouge",
    "Taille 38",
]
_OTHERS = [
    ("started", {"software": "1.0.0", "sqlite": "3.46.1"}),
    ("stopped", {}),
    ("mode_changed", {"cause": "no-answer", "link": "offline", "mode": "local"}),
    ("mode_changed", {"cause": "ok", "link": "online", "mode": "cloud"}),
    ("catalogue_applied", {"articles": 1000, "changed": 10, "digest": "0" * 64, "since": 1, "version": 2}),
    ("operation_refused", {"cause": "no-answer", "operation": "transfer", "operation_id": "0" * 36}),
]


def events() -> Iterator[bytes]:
    """What is learned from."""
    for number in range(BOXES):
        rng = random.Random(SEED + number)
        box = f"sb-{rng.getrandbits(80):020x}"
        end = Position(rng.randint(1, 3), rng.randint(1, 10**6), GENESIS)
        mono_ns = rng.randint(10**12, 10**16)
        signer = Signer(Ed25519PrivateKey.from_private_bytes(rng.randbytes(32)))
        boot = f"{rng.getrandbits(128):032x}"
        articles = list(make_articles(200, number, rng))
        till = rng.choice(["T1", "till-2", "caisse-3", "0042"])
        for sale in itertools.islice(make_sales(articles, till, rng), SALES_OF_A_BOX):
            mono_ns += rng.randint(10**6, 10**11)
            reading = ClockReading(rng.choice(["synced", "synced", "floor", "unknown"]), boot, mono_ns)
            kind, data = ("sale", _sale(sale, rng)) if rng.random() < 0.9 else _other(rng)
            sealed = seal(
                end, box=box, kind=kind, till=till, at=rfc3339(OPENING), clock=reading, data=msgspec.Raw(data)
            )
            end = Position(end.epoch, end.seq + 1, sealed.hash)
            yield sealed.body
            yield sign(signer, HEAD_TYPE, Head(box, end.epoch, end.seq, end.head.hex()))


def _other(rng: random.Random) -> tuple[str, bytes]:
    kind, data = rng.choice(_OTHERS)
    return kind, canonical(data)


def _sale(sale: Sale, rng: random.Random) -> bytes:
    told = rng.random() < 0.5
    lines = [_line(line, rng, told) for line in sale.lines[: rng.randint(1, 8)]]
    sale = replace(
        sale,
        sale_id=str(uuid.UUID(int=rng.getrandbits(128) & _V7_OFF | _V7_ON)),
        lines=lines,
        mode=rng.choice(["local", "cloud"]),
        customer_id=f"C-{rng.randint(1, 99_999)}" if rng.random() < 0.2 else None,
        ticket_number=rng.randint(1, 100_000),
    )
    flags: Sequence[str] = ["ticket-gap"] if rng.random() < 0.02 else []
    return sale_data(flags, sale.encode())


def _line(line: Line, rng: random.Random, told: bool) -> Line:
    discount = [Adjustment("remise", -rng.randint(10, 500))] if rng.random() < 0.1 else []
    if not told:
        return replace(line, adjustments=discount)
    name = " ".join(rng.choices(_WORDS, k=4))
    return replace(line, adjustments=discount, name=name, scanned_code=f"{rng.randint(10**12, 10**13 - 1)}")


def main() -> None:
    """Entry point."""
    trained = zstandard.train_dictionary(BYTES, list(events()), level=1, dict_id=NUMBER)
    Path(sys.argv[1]).write_bytes(trained.as_bytes())


if __name__ == "__main__":
    main()

"""One seed, lived from beginning to end, and what came of it.

Most seeds are a day like others. Every tenth is a world in which somebody puts an older card back, and every tenth
another lasts so long that the box prunes what shops no longer need.
"""

import logging
import tempfile
import traceback
from pathlib import Path

import msgspec

from campaigns.simulation.clock import TrueTime
from campaigns.simulation.loop import run_virtually
from campaigns.simulation.parts import Parts, PutBack
from campaigns.simulation.shop import Shop

# A folder of our own is made in it: how fast a card is, the simulation says itself.
TMPFS = Path("/dev/shm")  # noqa: S108
WORLDS = 10
PUT_BACK, PRUNED = 9, 8
PRUNED_TIMES = 1.5


class Outcome(msgspec.Struct, frozen=True):
    """What came of one seed; `broken` is empty when every promise held."""

    seed: int
    virtual_s: float
    sales: int
    acked: int
    events: int
    checks: int
    faults: dict[str, int]
    trace: str
    broken: list[str]
    last: list[str]


def run_seed(seed: int, days: float, folder: Path, parts: Parts | None = None) -> Outcome:
    """Live one seed in an empty folder (best on tmpfs)."""

    async def main() -> Outcome:
        shop = Shop(seed, folder, parts or Parts())
        try:
            await shop.live(days)
        except Exception as error:  # a bug, here or in the product: it has a seed, and the campaign goes on
            where = traceback.extract_tb(error.__traceback__)[-1]
            shop.oracle.fail("-", f"{error!r} at {Path(where.filename).name}:{where.lineno}")
        return outcome_of(shop, seed)

    outcome: Outcome = run_virtually(main)
    return outcome


def live(seed: int, days: float) -> Outcome:
    """Live one seed of the campaign in a folder that is gone afterwards, with the product's logs silenced."""
    logging.disable(logging.CRITICAL)
    world = seed % WORLDS
    parts = PutBack() if world == PUT_BACK else Parts()
    with tempfile.TemporaryDirectory(dir=TMPFS if TMPFS.is_dir() else None, prefix="simulate-") as folder:
        return run_seed(seed, days * PRUNED_TIMES if world == PRUNED else days, Path(folder), parts)


def outcome_of(shop: Shop, seed: int) -> Outcome:
    """In numbers."""
    faults = shop.weather.counts + shop.line.counts + shop.machine.counts + shop.oracle.counts
    return Outcome(
        seed=seed,
        virtual_s=TrueTime().monotonic(),
        sales=sum(disk.tickets for disk in shop.disks),
        acked=len(shop.oracle.acks),
        events=sum(map(len, shop.office.chains.values())),
        checks=shop.oracle.checks,
        faults=dict(sorted(faults.items())),
        trace=shop.trace.hash,
        broken=shop.oracle.broken,
        last=list(shop.trace.last) if shop.oracle.broken else [],
    )

"""How long and how large a run is."""

from dataclasses import dataclass
from pathlib import Path

from bench.shop import Shop

CLIENTS = (1, 8, 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What can be chosen. Fewer than five rounds say nothing; the quick ones only show that all of it runs."""

    rounds: int = 5
    seconds: float = 1.0  # of one half of a round
    articles: int = 100_000
    backlog: int = 20_000
    waiting: int = 1_000_000  # events, where memory is measured beside a backlog
    idle_s: float = 30.0
    quick: bool = False


QUICK = Settings(rounds=1, seconds=0.05, articles=1_000, backlog=1_000, waiting=2_000, idle_s=0.5, quick=True)


@dataclass(frozen=True, slots=True)
class Bench:
    """What a figure is given: the shop, a folder on the disk to measure, and the settings."""

    shop: Shop
    folder: Path
    settings: Settings

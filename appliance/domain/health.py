"""Grade a box from what it said last: one verdict, always with the reason. Used by the box and by the fleet page."""

from enum import StrEnum
from typing import Literal

import msgspec

from appliance.domain.update import UpdateView

# How often a box speaks that does not say how often; and what none may claim: a week of silence is no health.
HEARTBEAT_EVERY_S, HEARTBEAT_EVERY_S_MAX = 30.0, 3_600.0
# Three missed heartbeats: one may be lost, and one more while the box restarts.
HEARTBEATS_MISSED = 3
# The age of the oldest sale that waits although the line is up: amber, red.
WAITING_WARN_S, WAITING_BAD_S = 300.0, 1_800.0
# With the line down waiting is what the box is for; four hours is a long outage.
OUTAGE_WARN_S = 4 * 3_600.0
# Prices change overnight: a catalogue that nobody confirmed for a day sells at yesterday's.
CATALOGUE_STALE_S = 24 * 3_600.0
DISK_FREE_WARN, DISK_FREE_BAD = 0.20, 0.10

# What a shop can live with: its tills sell by the address that they know.
MILD_ISSUES = frozenset({"multicast-blocked"})

Multicast = Literal["ok", "blocked", "unknown"]


class Grade(StrEnum):
    """Worst last."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    WARNING = "warning"
    UNHEALTHY = "unhealthy"


class HostReading(msgspec.Struct, frozen=True):
    """How the machine is. Ratios are from 0 to 1."""

    disk_free_ratio: float
    memory_rss_bytes: int
    cpu_ratio: float


class MachineView(msgspec.Struct, frozen=True):
    """What a box tells of its machine's wear and power (domain/wear.py). None: the machine does not say.

    `written_day_bytes`: to the disk of the journal, in the last 24 hours. `watchdog` "none": there is none here.
    """

    written_day_bytes: int | None = None
    disk_errors: int | None = None
    life_used_ratio: float | None = None
    under_voltage: bool | None = None
    clock: bool = False
    watchdog: Literal["armed", "off", "none"] = "none"


class Heartbeat(msgspec.Struct, frozen=True):
    """What a box tells of itself, signed, every few seconds. No personal data, no amounts.

    `flags` counts the flags of sales since the box started (domain/flags.py). `next_s`: the next one comes in about so
    long; less often from a shop that does nothing. `addresses` and `port`: where its tills reach it. `multicast`:
    whether they see it by mDNS. `certificate_s`: how long its certificate still holds. `update`: what it runs, and how
    far it is with another release. `machine`: its wear and power.
    """

    box: str
    shop: str
    software: str
    boot: str
    uptime_s: float
    epoch: int
    seq: int
    head: str
    synced_seq: int
    backlog: int
    oldest_waiting_s: float
    link: str
    cause: str
    mode: str
    catalogue_version: int
    catalogue_age_s: float
    policy_version: int
    tills_seen: int
    disk_free_ratio: float
    memory_rss_bytes: int
    cpu_ratio: float
    issues: list[str] = []
    flags: dict[str, int] = {}
    next_s: float = HEARTBEAT_EVERY_S
    addresses: list[str] = []
    port: int = 0
    tills_paired: int = 0
    multicast: Multicast = "unknown"
    certificate_s: float | None = None
    update: UpdateView = UpdateView()
    machine: MachineView | None = None


class Verdict(msgspec.Struct, frozen=True):
    """A grade and the one reason for it, as a stable code."""

    grade: Grade
    reason: str


def judge(beat: Heartbeat | None, silent_s: float) -> Verdict:
    """The verdict on a box whose last heartbeat came `silent_s` seconds ago (None: never).

    First match wins, the worst first: what a box says of its link is moot once it is silent.
    """
    if beat is None:
        return Verdict(Grade.UNKNOWN, "never-seen")
    every_s = min(beat.next_s, HEARTBEAT_EVERY_S_MAX)
    reachable = beat.link != "offline"
    grave = [issue for issue in beat.issues if issue not in MILD_ISSUES]
    rules = (
        (silent_s > HEARTBEATS_MISSED * every_s, Grade.UNHEALTHY, "silent"),
        (bool(grave), Grade.UNHEALTHY, next(iter(grave), "")),
        (beat.disk_free_ratio < DISK_FREE_BAD, Grade.UNHEALTHY, "disk-nearly-full"),
        (reachable and beat.oldest_waiting_s > WAITING_BAD_S, Grade.UNHEALTHY, "sales-waiting"),
        (reachable and beat.oldest_waiting_s > WAITING_WARN_S, Grade.WARNING, "sales-waiting"),
        (not reachable and beat.oldest_waiting_s > OUTAGE_WARN_S, Grade.WARNING, "long-outage"),
        (beat.disk_free_ratio < DISK_FREE_WARN, Grade.WARNING, "disk-filling"),
        (beat.link != "online", Grade.WARNING, f"link-{beat.link}"),
        (beat.catalogue_age_s > CATALOGUE_STALE_S, Grade.WARNING, "catalogue-stale"),
        (bool(beat.issues), Grade.WARNING, next(iter(beat.issues), "")),
    )
    return next((Verdict(grade, why) for hit, grade, why in rules if hit), Verdict(Grade.HEALTHY, "all-well"))

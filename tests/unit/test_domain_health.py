"""The verdict on a box."""

from typing import Any

import msgspec
import pytest

from appliance.domain.health import Grade, Heartbeat, judge


def a_beat(**overrides: Any) -> Heartbeat:
    """A box that is well."""
    fields: dict[str, Any] = {
        "box": "sb-1",
        "shop": "lyon",
        "software": "1.0",
        "boot": "boot-1",
        "uptime_s": 60.0,
        "epoch": 1,
        "seq": 10,
        "head": "00" * 32,
        "synced_seq": 10,
        "backlog": 0,
        "oldest_waiting_s": 0.0,
        "link": "online",
        "cause": "ok",
        "mode": "cloud",
        "catalogue_version": 3,
        "catalogue_age_s": 10.0,
        "policy_version": 1,
        "tills_seen": 2,
        "disk_free_ratio": 0.8,
        "memory_rss_bytes": 60_000_000,
        "cpu_ratio": 0.02,
    }
    return Heartbeat(**(fields | overrides))


@pytest.mark.parametrize(
    ("change", "grade", "reason"),
    [
        ({}, Grade.HEALTHY, "all-well"),
        ({"issues": ["storage-fault", "other"]}, Grade.UNHEALTHY, "storage-fault"),
        ({"issues": ["multicast-blocked"]}, Grade.WARNING, "multicast-blocked"),
        ({"issues": ["multicast-blocked", "storage-fault"]}, Grade.UNHEALTHY, "storage-fault"),
        ({"issues": ["multicast-blocked"], "link": "offline"}, Grade.WARNING, "link-offline"),
        ({"disk_free_ratio": 0.10}, Grade.WARNING, "disk-filling"),
        ({"disk_free_ratio": 0.09}, Grade.UNHEALTHY, "disk-nearly-full"),
        ({"disk_free_ratio": 0.20}, Grade.HEALTHY, "all-well"),
        ({"oldest_waiting_s": 300.0}, Grade.HEALTHY, "all-well"),
        ({"oldest_waiting_s": 301.0}, Grade.WARNING, "sales-waiting"),
        ({"oldest_waiting_s": 1_801.0}, Grade.UNHEALTHY, "sales-waiting"),
        ({"oldest_waiting_s": 1_801.0, "link": "degraded"}, Grade.UNHEALTHY, "sales-waiting"),
        ({"oldest_waiting_s": 1_801.0, "link": "offline"}, Grade.WARNING, "link-offline"),
        ({"oldest_waiting_s": 14_401.0, "link": "offline"}, Grade.WARNING, "long-outage"),
        ({"link": "degraded"}, Grade.WARNING, "link-degraded"),
        ({"catalogue_age_s": 86_401.0}, Grade.WARNING, "catalogue-stale"),
        ({"catalogue_age_s": 86_401.0, "disk_free_ratio": 0.01}, Grade.UNHEALTHY, "disk-nearly-full"),
    ],
)
def test_the_verdict_names_the_worst_thing(change: dict[str, Any], grade: Grade, reason: str) -> None:
    verdict = judge(a_beat(**change), silent_s=0.0)

    assert (verdict.grade, verdict.reason) == (grade, reason)


def test_a_box_that_never_spoke_is_unknown() -> None:
    assert judge(None, 0.0).grade is Grade.UNKNOWN


def test_three_missed_heartbeats_are_silence() -> None:
    assert judge(a_beat(), 90.0).reason == "all-well"
    assert judge(a_beat(), 90.1).reason == "silent"


def test_silence_is_measured_by_how_often_the_box_said_it_would_speak() -> None:
    assert judge(a_beat(next_s=300.0), 900.0).reason == "all-well"
    assert judge(a_beat(next_s=300.0), 901.0).reason == "silent"
    assert judge(a_beat(next_s=1e9), 4 * 3_600.0).reason == "silent"


def test_a_heartbeat_survives_the_wire() -> None:
    beat = a_beat(issues=["storage-fault"])

    assert msgspec.json.decode(msgspec.json.encode(beat), type=Heartbeat) == beat

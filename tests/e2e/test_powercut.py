"""`make powercut`, a short fixed part: nothing acked is lost, and each planted mistake is found."""

import re
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from tests.conftest import require

pytestmark = [pytest.mark.campaign, pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(autouse=True)
def lossy_disks_can_be_had() -> None:
    require("fusermount3", root=True, device="/dev/fuse")


def powercut(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "campaigns.powercut", "--json", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def figures(done: "subprocess.CompletedProcess[str]") -> dict[str, dict[str, Any]]:
    return {campaign["name"]: campaign for campaign in msgspec.json.decode(done.stdout)}


def size(cuts: int = 0, errors: int = 0, recordings: int = 0) -> list[str]:
    return ["--cuts", str(cuts), "--errors", str(errors), "--recordings", str(recordings)]


def test_no_acked_sale_is_lost_at_a_power_cut() -> None:
    done = powercut(*size(cuts=48, errors=20, recordings=1), "--every", "24")

    assert done.returncode == 0, done.stderr
    found = figures(done)
    assert found["cuts"]["counts"]["cuts"] == 48
    assert found["errors"]["counts"]["failed fsyncs"] >= 20
    assert found["recordings"]["counts"]["crash points"] > 500
    assert all(campaign["acked"] > 100 for campaign in found.values())
    assert all(campaign["lost"] == 0 for campaign in found.values())


@pytest.mark.parametrize(
    ("plant", "campaign"),
    [
        ("synchronous-normal", size(cuts=36)),
        ("ack-before-commit", size(cuts=60)),
        ("lying-fsync", size(cuts=24)),
        ("no-start-checkpoint", size(errors=60)),
        ("no-stop-at-fault", size(errors=20)),
        ("synchronous-normal", size(recordings=1)),
        ("ack-before-commit", size(recordings=1)),
        ("lying-fsync", size(recordings=1)),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_a_planted_mistake_is_found_and_its_case_can_be_run_again(plant: str, campaign: list[str]) -> None:
    done = powercut("--plant", plant, "--stop", *campaign)

    assert done.returncode == 1, done.stderr
    (found,) = figures(done).values()
    assert found["broken"]
    again = re.search(r'again: make powercut ARGS="(.+)"', done.stderr)
    assert again
    assert powercut(*again[1].split(), "--stop").returncode == 1


def test_a_case_that_does_not_exist_is_misuse() -> None:
    done = powercut("--case", "cuts")

    assert done.returncode == 2
    assert "no such case" in done.stderr

"""The units as systemd reads them, and the limits that unit and daemon must agree on.

What they do is seen where systemd runs: `make units`, and the booted image.
"""

import re
import subprocess
from pathlib import Path

import pytest

from appliance.gateways.units import TRIAL_OVER
from appliance.runtime.notify import EXTENSION_S
from appliance.services.disk import LOOK_EVERY_S
from appliance.services.liveness import EVERY_S, LATE_MAX_S
from tests.conftest import require

SYSTEMD = Path(__file__).parents[3] / "systemd"
UNITS = sorted(path for path in SYSTEMD.glob("storebox*") if path.suffix in (".service", ".timer", ".path"))
# The exposure that `systemd-analyze security` gives: 0 to 100 there, 0.0 to 10.0 for people.
EXPOSURE_MAX = 15
# Keys of the units that came with systemd 254: Debian 12's systemd-analyze, where tests run too, does not know them.
SINCE_254 = {"RestartSteps", "RestartMaxDelaySec", "RestartMode", "ImportCredential"}


def systemd_version() -> int:
    said = subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True, check=True).stdout
    return int(said.split()[1])


def values(unit: str, key: str) -> list[str]:
    """What a unit file says of a key, in order."""
    return re.findall(rf"^{key}=(.*)$", (SYSTEMD / unit).read_text(), re.MULTILINE)


def seconds(text: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(s|min)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"s": 1, "min": 60}[unit]


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_finds_no_fault_in_a_unit(unit: Path, tmp_path: Path) -> None:
    require("systemd-analyze")
    # Our programs are at their place only where they are installed.
    ours = re.compile(r"^(Exec\w+=)/(?:opt|usr/lib)/storebox/\S+", re.MULTILINE)
    for path in UNITS:
        (tmp_path / path.name).write_text(ours.sub(r"\1/bin/true", path.read_text()))

    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / unit.name],
        capture_output=True,
        text=True,
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/bin:/bin"},
    )

    found = verified.stderr.splitlines()
    if systemd_version() < 254:
        known = re.compile(rf".*Unknown key '({'|'.join(SINCE_254)})' in section \[Service\], ignoring\.")
        found = [line for line in found if not known.fullmatch(line)]
    assert found == []
    assert verified.returncode == 0


def test_a_service_that_becomes_another_user_is_root_without_saying_so() -> None:
    # With User=root and a filter of system calls systemd 257 takes CAP_SETUID away, whatever the unit says
    # (src/core/exec-invoke.c).
    becomes = [
        unit.name for unit in UNITS if "CAP_SETUID" in " ".join(values(unit.name, "CapabilityBoundingSet"))
    ]

    assert becomes
    assert [name for name in becomes if values(name, "User")] == []


def works_without_privilege(unit: Path) -> bool:
    return values(unit.name, "User") not in ([], ["root"]) or values(unit.name, "DynamicUser") == ["yes"]


@pytest.mark.parametrize(
    "unit", [unit for unit in UNITS if works_without_privilege(unit)], ids=lambda path: path.name
)
def test_a_service_without_privilege_is_exposed_to_little(unit: Path) -> None:
    require("systemd-analyze")

    scored = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE_MAX}", unit],
        capture_output=True,
        text=True,
    )

    assert scored.returncode == 0, scored.stdout[-2_000:]


def test_the_daemon_works_without_privilege() -> None:
    assert works_without_privilege(SYSTEMD / "storebox.service")
    assert works_without_privilege(SYSTEMD / "storebox-escalate.service")


def test_the_watchdog_bites_a_hang_within_half_a_minute_and_nothing_else() -> None:
    (watchdog,) = map(seconds, values("storebox.service", "WatchdogSec"))
    (abort,) = map(seconds, values("storebox.service", "TimeoutAbortSec"))
    (restart,) = map(seconds, values("storebox.service", "RestartSec"))

    # One sign of life may be left out, by a look that came late.
    assert watchdog > 2 * max(LOOK_EVERY_S, EVERY_S) + LATE_MAX_S
    # Even when the hang began right after a sign, and SIGABRT does not end it.
    assert watchdog + abort + restart <= 30


def delays(starts: int) -> list[float]:
    """How long systemd waits before each further start (RestartSteps= of systemd.service(5))."""
    (first,) = map(seconds, values("storebox.service", "RestartSec"))
    (last,) = map(seconds, values("storebox.service", "RestartMaxDelaySec"))
    (steps,) = map(int, values("storebox.service", "RestartSteps"))
    return [first * (last / first) ** (min(number, steps) / steps) for number in range(starts)]


def test_starts_that_hang_are_used_up_like_starts_that_fail() -> None:
    (granted,) = map(int, values("storebox.service", "StartLimitBurst"))
    (counted,) = map(seconds, values("storebox.service", "StartLimitIntervalSec"))
    (start,) = map(seconds, values("storebox.service", "TimeoutStartSec"))
    (abort,) = map(seconds, values("storebox.service", "TimeoutAbortSec"))

    assert values("storebox.service", "TimeoutStartFailureMode") == ["abort"]
    assert granted * (start + abort) + sum(delays(granted)) < counted
    # A sign that the start gets on is no more than what it has anyway.
    assert start > EXTENSION_S


def test_a_good_run_clears_the_count_of_restarts() -> None:
    # Each start of the daemon is one of the timer, also when systemd starts it again; each end its end.
    assert values("storebox.service", "ExecStartPre") == [
        "-+/usr/bin/systemctl --no-block restart storebox-steady.timer"
    ]
    assert values("storebox-steady.timer", "BindsTo") == ["storebox.service"]
    assert values("storebox-steady.timer", "After") == ["storebox.service"]
    assert values("storebox-steady.service", "ExecStart") == [
        "/usr/bin/systemctl reset-failed storebox.service"
    ]
    # This clears the count of starts as well: it must come too late to save a box that never gets steady.
    (steady,) = map(seconds, values("storebox-steady.timer", "OnActiveSec"))
    (counted,) = map(seconds, values("storebox.service", "StartLimitIntervalSec"))
    assert steady > counted


def test_no_unit_waits_for_a_network() -> None:
    for unit in UNITS:
        assert "network-online.target" not in "".join(values(unit.name, "(?:After|Wants|Requires)"))


def test_starts_that_are_used_up_lead_from_unit_to_unit() -> None:
    assert values("storebox.service", "OnFailure") == ["storebox-escalate.service"]
    assert values("storebox-escalate.service", "SuccessAction") == ["reboot"]
    assert values("storebox-escalate.service", "OnFailure") == ["storebox-degraded.service"]
    assert values("storebox-degraded.service", "Wants") == ["storebox-again.timer"]
    assert values("storebox-again.timer", "Unit") == ["storebox.service"]
    # Each try is one that systemd still grants.
    (again,) = map(seconds, values("storebox-again.timer", "OnUnitInactiveSec"))
    (counted,) = map(seconds, values("storebox.service", "StartLimitIntervalSec"))
    assert again > counted


def test_a_release_on_trial_that_hangs_on_its_way_to_its_proof_is_timed_at_each_step() -> None:
    # From sysinit.target, anew from the proof's unit; the proof itself stops it (appliance/gateways/units.py).
    assert values(TRIAL_OVER, "WantedBy") == ["sysinit.target"]
    assert values("storebox-commit.service", "ExecStartPre") == [
        f"-/usr/bin/systemctl --no-block restart {TRIAL_OVER}"
    ]
    # Two steps of a bad release, and three minutes in which a shop must be served again.
    (step,) = map(seconds, values(TRIAL_OVER, "OnActiveSec"))
    (late,) = map(seconds, values(TRIAL_OVER, "AccuracySec"))
    assert step + late < 90
    assert (SYSTEMD / TRIAL_OVER).with_suffix(".service").exists()

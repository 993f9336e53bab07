"""What systemd says of the daemon's unit, and what it is told of a trial. Each call blocks, for ten seconds at most."""

import logging
import subprocess

log = logging.getLogger(__name__)

ASK_S = 10.0
UNIT = "storebox.service"
# Leaves a release on trial that hangs on its way to its proof.
TRIAL_OVER = "storebox-trial-over.timer"


def ended_by_itself() -> int:
    """How often the unit has ended and was started again by systemd since it was last started; 0 where none says.

    systemd.service(5), Restart=; NRestarts of org.freedesktop.systemd1(5).
    """
    return _number("NRestarts")


def first_started_s() -> float | None:
    """When the unit was last started by somebody, by the monotonic clock; not by its own restarts. None: none says.

    InactiveExitTimestampMonotonic of org.freedesktop.systemd1(5), in microseconds: with RestartMode=direct a restart
    does not go through "inactive".
    """
    return _number("InactiveExitTimestampMonotonic") / 1e6 or None


def proof_begins() -> None:
    """The release on trial is at its proof, so it is no longer left for not getting there.

    What goes wrong is logged: then the timer runs out, and the box goes back to the release before.
    """
    try:
        _systemctl("stop", TRIAL_OVER)
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("update.still_timed", extra={"error": str(error)})


def _number(prop: str) -> int:
    """What a property of the unit says; 0 where nobody says."""
    try:
        said = _systemctl("show", "--value", f"--property={prop}", UNIT).strip()
    except (OSError, subprocess.SubprocessError):
        return 0
    return int(said) if said.isdigit() else 0


def _systemctl(*words: str) -> bytes:
    """What it prints. Raises OSError or SubprocessError when there is none, or it fails or takes too long."""
    command = ["systemctl", *words]
    return subprocess.run(command, capture_output=True, timeout=ASK_S, check=True).stdout  # noqa: S603  fixed words, and no shell

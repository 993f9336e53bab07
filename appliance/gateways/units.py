"""What systemd says of the daemon's unit."""

import subprocess

ASK_S = 10.0


def ended_by_itself(unit: str = "storebox.service") -> int:
    """How often the unit has ended and was started again by systemd since it was last started; 0 where none says.

    Blocks, for ten seconds at most (systemd.service(5), Restart=; NRestarts of org.freedesktop.systemd1(5)).
    """
    command = ["systemctl", "show", "--value", "--property=NRestarts", unit]
    try:
        done = subprocess.run(command, capture_output=True, timeout=ASK_S, check=False)  # noqa: S603  a fixed program
    except (OSError, subprocess.TimeoutExpired):
        return 0
    said = done.stdout.strip()
    return int(said) if said.isdigit() else 0

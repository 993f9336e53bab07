"""The daemon's log as the system keeps it (journald)."""

import shutil
import subprocess

UNIT = "storebox.service"
PATIENCE_S = 30.0


def last_lines(count: int) -> bytes:
    """The daemon's last log lines; why there are none, where no journald keeps them. Blocks."""
    program = shutil.which("journalctl")
    if program is None:
        return b"no journalctl here\n"
    command = [program, "--unit", UNIT, "--output", "short-iso", "--lines", str(count), "--no-pager"]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE_S)  # noqa: S603  our words
    except subprocess.TimeoutExpired:
        return b"journalctl did not answer\n"
    return done.stdout or done.stderr

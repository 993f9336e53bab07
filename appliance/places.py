"""Where things stand in the state directory."""

from pathlib import Path
from typing import NamedTuple

from appliance.config import Config


class Files(NamedTuple):
    """What stands in the state directory beside the identity's files."""

    lock: Path
    journal: Path
    head: Path
    ballast: Path
    mirror: Path
    incoming: Path
    tills: Path
    console_token: Path
    url: Path
    time_floor: Path
    forced_reboots: Path
    update: Path
    trial: Path


def files_in(config: Config) -> Files:
    """Where things are."""
    state = config.state
    return Files(
        lock=state / "lock",
        journal=state / "journal.db",
        head=state / "head",
        ballast=state / "ballast",
        mirror=state / "mirror.db",
        incoming=state / "catalogue.incoming",
        tills=state / "tills.json",
        console_token=state / "console-token",
        url=state / "url",
        time_floor=state / "time-floor",
        forced_reboots=state / "forced-reboots",
        update=state / "update",
        trial=state / "trial.db",
    )

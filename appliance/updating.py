"""The parts of updates put together: for the daemon, and for the root units beside it."""

import configparser
import random
from pathlib import Path

from appliance import __version__
from appliance.config import Config
from appliance.domain.errors import ConfigError
from appliance.domain.statements import Keys
from appliance.domain.update import read_window
from appliance.places import files_in
from appliance.runtime.clock import Clock
from appliance.services.disk import DiskWatch
from appliance.services.handover import Handover, Manners
from appliance.services.ports import Recorder, UpdateCloud
from appliance.services.rhythm import Rhythm
from appliance.services.updates import Bounds, Machine, Updates
from appliance.storage.update_files import UpdateFiles, UpdateRecords

# os-release(5): an image says its version there.
OS_RELEASE = Path("/etc/os-release")
MIB = 1024 * 1024


def machine(config: Config, os_release: Path = OS_RELEASE) -> Machine | None:
    """What runs here; None on a box that was not installed from an image. Raises ConfigError. Blocks."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(config.update.system.read_text(), str(config.update.system))
        compatible = parser["system"]["compatible"]
    except FileNotFoundError:
        return None
    except (configparser.Error, KeyError) as error:
        raise ConfigError(f"{config.update.system}: {error}") from error
    return Machine(image_version(os_release) or __version__, compatible)


def image_version(os_release: Path) -> str:
    """The version of the image; empty where it says none. Blocks."""
    try:
        lines = os_release.read_text().splitlines()
    except OSError:
        return ""
    said = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return said.get("IMAGE_VERSION", "").strip("\"'")


def make_updates(
    config: Config,
    here: Machine,
    cloud: UpdateCloud,
    keys: Keys,
    recorder: Recorder,
    clock: Clock,
    rng: random.Random,
    rhythm: Rhythm,
    disk: DiskWatch,
) -> Updates:
    """The daemon's part of updates."""
    settings = config.update
    files, records = UpdateFiles(files_in(config).update), UpdateRecords(settings.records)
    manners = Manners(settings.idle_s, read_window(settings.window))

    def quiet_s() -> float:
        return rhythm.quiet_s

    return Updates(
        here,
        cloud,
        keys,
        files,
        records,
        recorder,
        clock,
        rng,
        Bounds(settings.bytes_per_s, settings.bundle_mib_max * MIB),
        Handover(files, records, clock, manners, quiet_s),
        quiet_s,
        disk.admit_bundle,
    )

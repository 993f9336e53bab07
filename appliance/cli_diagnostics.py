"""`storebox diagnostics`: one archive for whoever helps from afar."""

import argparse
import platform
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from appliance import __version__
from appliance.config import Config, load_config
from appliance.domain.errors import StoreboxError
from appliance.gateways.daemon import ask_daemon
from appliance.gateways.identity import Identity
from appliance.gateways.mdns import look_around
from appliance.gateways.syslog import last_lines
from appliance.places import files_in
from appliance.runtime.clock import SystemClock, rfc3339
from appliance.services.diagnostics import Sheet, events_sheet, state_sheet, write_archive

FINE = 0
LOG_LINES = 5_000
ASKED = (("status.json", "/v1/status"), ("metrics.txt", "/metrics"))


def add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", configured: argparse.ArgumentParser
) -> None:
    """Make the command known."""
    command = commands.add_parser(
        "diagnostics",
        parents=[configured],
        help="one archive for whoever helps from afar; no sales, no secrets",
    )
    command.add_argument("--to", required=True, metavar="FILE", help="a .tar.gz; `-`: standard output")
    command.set_defaults(command=diagnostics)


def diagnostics(options: argparse.Namespace) -> int:
    """Write the archive. What cannot be found out is said in it, and keeps nothing else from being told."""
    config = load_config(options.config)
    now = SystemClock().wall()
    sheets = _sheets(config, options.config, rfc3339(now))
    if options.to == "-":
        write_archive(sheets, sys.stdout.buffer, at_s=int(now.timestamp()))
        return FINE
    path = Path(options.to)
    with path.open("xb") as file:
        path.chmod(0o600)
        write_archive(sheets, file, at_s=int(now.timestamp()))
    print(f"{path}: no sales and no secrets are in it", file=sys.stderr)
    return FINE


def _sheets(config: Config, source: Path, at: str) -> Iterator[Sheet]:
    yield Sheet("about.json", msgspec.json.encode(_about(config, at)))
    yield Sheet("storebox.toml", source.read_bytes())
    files = files_in(config)
    for name, path in ASKED:
        try:
            yield Sheet(name, ask_daemon(files.url, files.console_token, "GET", path))
        except (StoreboxError, OSError) as error:
            yield Sheet(f"{name}.missing", f"{error}\n".encode())
    yield state_sheet(config.state)
    yield events_sheet(files.journal)
    yield Sheet("log.txt", last_lines(LOG_LINES))


def _about(config: Config, at: str) -> dict[str, object]:
    about: dict[str, object] = {
        "at": at,
        "storebox": __version__,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "system": platform.platform(),
        "addresses": look_around([]).addresses,
    }
    try:
        identity = Identity(config.state)
        return {**about, "box": identity.box, "fp": identity.signer.key_id}
    except (StoreboxError, OSError) as error:
        return {**about, "identity": str(error)}

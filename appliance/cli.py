"""The command `storebox`.

Exit codes: 0 fine, 1 unhealthy or failed, 2 misuse or a configuration that cannot be used.
"""

import argparse
import asyncio
import random
import sys
from pathlib import Path

import msgspec

from appliance import (
    __version__,
    cli_diagnostics,
    cli_first_boot,
    cli_identity,
    cli_journal,
    cli_rescue,
    cli_tills,
    cli_update,
)
from appliance.config import Config, load_config
from appliance.domain.errors import ConfigError, StoreboxError
from appliance.domain.update import UpdateView
from appliance.domain.wire import Status
from appliance.gateways.daemon import ask_daemon
from appliance.gateways.identity import Identity
from appliance.places import files_in
from appliance.runtime.clock import SystemClock
from appliance.runtime.files import write_whole
from appliance.runtime.logs import log_to_stderr
from appliance.runtime.notify import notify, still_starting
from appliance.runtime.process import keep_to_one_core, run_daemon, settle
from appliance.setup import Setup, until_enrolled
from appliance.stopped import new_epoch
from appliance.wiring import open_box

FINE, FAILED, MISUSE = 0, 1, 2


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit with its code; expected failures are one line on standard error."""
    options = _parser().parse_args(arguments)
    try:
        sys.exit(options.command(options))
    except ConfigError as error:
        print(f"storebox: {error}", file=sys.stderr)
        sys.exit(MISUSE)
    except (StoreboxError, OSError) as error:
        print(f"storebox: {error}", file=sys.stderr)
        sys.exit(FAILED)


def run(options: argparse.Namespace) -> int:
    """Serve tills until SIGTERM or SIGINT; before, wait for the box to be enrolled."""
    config = _configured(options)
    # What takes longest on a slow card is over: the program is read.
    still_starting()
    log_to_stderr()
    keep_to_one_core()

    async def serve(stop: asyncio.Event) -> None:
        clock, rng = SystemClock(), random.Random()
        settled = await until_enrolled(config, clock, rng, stop, _tell_unclaimed)
        if settled is None:
            return
        async with open_box(settled, clock, rng) as url:
            files = files_in(config)
            write_whole(files.url, url.encode(), mode=0o644)
            # Ready means that somebody was served: over the LAN's port, by TLS, with the key that tills pin.
            await asyncio.to_thread(ask_daemon, files.url, files.console_token, "GET", "/v1/hello")
            settle()
            print(f"ready {url}", flush=True)
            notify("READY=1")
            await stop.wait()
            notify("STOPPING=1")

    run_daemon(serve)
    return FINE


def _tell_unclaimed(setup: Setup) -> None:
    print(f"unclaimed {setup.url} {setup.identity.box} {setup.identity.signer.key_id}", flush=True)
    notify("READY=1\nSTATUS=waiting for a claim")


def open_new_epoch(options: argparse.Namespace) -> int:
    """Begin a new epoch of the journal: the repair of a rolled-back or cloned card."""
    config = _configured(options)
    if not options.reason.strip():
        raise ConfigError("--reason: say why, for those who read the journal later")
    before, now = asyncio.run(new_epoch(config, SystemClock(), options.reason))
    print(f"epoch {now.epoch} is open; epoch {before.epoch} ends here at seq {before.seq}")
    return FINE


def status(options: argparse.Namespace) -> int:
    """Print what the running box says of itself; 1 when it does not answer or has an issue."""
    files = files_in(_configured(options))
    body = ask_daemon(files.url, files.console_token, "GET", "/v1/status")
    view = msgspec.json.decode(body, type=Status)
    if options.json:
        print(body.decode())
    else:
        _print_table(view)
    return FAILED if view.issues else FINE


def check(options: argparse.Namespace) -> int:
    """Load configuration, key and enrolment, and bind nothing."""
    config = _configured(options)
    identity = Identity(config.state)
    enrolment = identity.enrolment()
    enrolment.keys()
    print(
        f"{identity.box}, shop {enrolment.answer.shop}, cloud {config.cloud.url or enrolment.cloud_url}: fine"
    )
    return FINE


def _configured(options: argparse.Namespace) -> Config:
    config = load_config(options.config)
    config.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    return config


def _print_table(view: Status) -> None:
    journal = view.journal
    rows = {
        "box": f"{view.box}, shop {view.shop}, storebox {view.software}",
        "state": f"{view.state} ({view.mode.cause}), proposes {view.mode.mode} mode since {view.mode.changed_at}",
        "journal": f"epoch {journal.epoch}, seq {journal.seq}, head {journal.head[:16]}",
        "cloud": f"has up to seq {journal.synced_seq}; {journal.backlog} wait, oldest {journal.oldest_waiting_s:.0f} s",
        "catalogue": f"version {view.catalogue_version}, {view.articles} articles, {view.catalogue_age_s:.0f} s old",
        "tills": f"{view.tills_seen} seen, {view.sales_accepted} sales accepted since start",
        "flags": ", ".join(f"{flag} {count}" for flag, count in sorted(view.flags.items())) or "none",
        "update": _said_of(view.update),
        "issues": ", ".join(view.issues) or "none",
    }
    for name, text in rows.items():
        print(f"{name:<10} {text}")


def _said_of(update: UpdateView) -> str:
    runs = f"image {update.running}" if update.compatible else "not updated by slots"
    if update.state != "none":
        done = f", {update.fetched_bytes} of {update.size} bytes" if update.state == "fetching" else ""
        return f"{runs}; {update.version}: {update.state}{done}"
    if update.last:
        why = f" ({update.last_reason})" if update.last_reason else ""
        return f"{runs}; last: {update.last_version} {update.last}{why}"
    return runs


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="storebox", description="The box that keeps a shop's tills selling."
    )
    parser.add_argument("--version", action="version", version=f"storebox {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    configured = argparse.ArgumentParser(add_help=False)
    configured.add_argument(
        "--config", type=Path, default=Path("/etc/storebox/storebox.toml"), metavar="FILE"
    )

    run_command = commands.add_parser("run", parents=[configured], help="serve tills until stopped")
    run_command.set_defaults(command=run)

    epoch_command = commands.add_parser("epoch", help="the epochs of the journal")
    epoch_actions = epoch_command.add_subparsers(required=True, metavar="ACTION")
    epoch_new = epoch_actions.add_parser(
        "new", parents=[configured], help="begin a new epoch: the repair of a rolled-back or cloned card"
    )
    epoch_new.add_argument("--reason", required=True, metavar="TEXT", help="why, for the journal")
    epoch_new.set_defaults(command=open_new_epoch)

    status_command = commands.add_parser(
        "status", parents=[configured], help="what the running box says of itself"
    )
    status_command.add_argument("--json", action="store_true")
    status_command.set_defaults(command=status)

    check_command = commands.add_parser(
        "check", parents=[configured], help="check configuration, key and enrolment"
    )
    check_command.set_defaults(command=check)

    cli_first_boot.add_commands(commands)
    cli_identity.add_commands(commands, configured)
    cli_tills.add_commands(commands, configured)
    cli_journal.add_commands(commands, configured)
    cli_rescue.add_command(commands, configured)
    cli_update.add_commands(commands, configured)
    cli_diagnostics.add_command(commands, configured)
    return parser


if __name__ == "__main__":
    main()

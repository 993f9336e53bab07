"""The command `storebox`.

Exit codes: 0 fine, 1 unhealthy or failed, 2 misuse or a configuration that cannot be used.
"""

import argparse
import asyncio
import http.client
import random
import sys
from pathlib import Path

import msgspec

from appliance import __version__
from appliance.config import Config, load_config
from appliance.domain.dsse import spki_fingerprint
from appliance.domain.errors import CloudError, ConfigError, StoreboxError
from appliance.domain.identity import box_id
from appliance.domain.wire import Status
from appliance.gateways.cloud import enrol
from appliance.gateways.identity import Identity
from appliance.gateways.tills import TillBook
from appliance.runtime.clock import SystemClock
from appliance.runtime.files import sole_owner, write_whole
from appliance.runtime.keyfile import read_public_pem
from appliance.runtime.logs import log_to_stderr
from appliance.runtime.notify import notify
from appliance.runtime.process import run_daemon
from appliance.services.presence import CONSOLE
from appliance.services.verification import verify_journal
from appliance.wiring import files_in, open_box

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
    """Serve tills until SIGTERM or SIGINT."""
    config = _configured(options)
    log_to_stderr()

    async def serve(stop: asyncio.Event) -> None:
        async with open_box(config, SystemClock(), random.Random()) as url:
            write_whole(files_in(config).url, url.encode(), mode=0o644)
            print(f"ready {url}", flush=True)
            notify("READY=1")
            await stop.wait()
            notify("STOPPING=1")

    run_daemon(serve)
    return FINE


def enrol_box(options: argparse.Namespace) -> int:
    """Make the box's keys if there are none, and exchange a token for an enrolment."""
    config = _configured(options)
    with sole_owner(files_in(config).lock):
        identity = Identity(config.state)
        answer = asyncio.run(enrol(options.cloud, identity.enrolment_request(options.token)))
        identity.keep_enrolment(options.cloud, answer)
    print(f"{answer.box} is enrolled for shop {answer.shop} ({answer.shop_name})")
    return FINE


def pair(options: argparse.Namespace) -> int:
    """Print a new token for a till; its earlier tokens end."""
    config = _configured(options)
    if options.till == CONSOLE:
        raise ConfigError(f"{CONSOLE!r} is the box's own name for itself")
    print(TillBook(files_in(config).tills).pair(options.till))
    return FINE


def status(options: argparse.Namespace) -> int:
    """Print what the running box says of itself; 1 when it does not answer or has an issue."""
    config = _configured(options)
    body = _ask_daemon(config)
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


def verify(options: argparse.Namespace) -> int:
    """Walk a journal and name the first fault; 1 when there is one."""
    if options.journal:
        if not options.key:
            raise ConfigError("--journal needs --key: the box's public key")
        journal, key = options.journal, read_public_pem(options.key.read_text())
    else:
        config = _configured(options)
        journal, key = files_in(config).journal, Identity(config.state).signer.public_key
    if not journal.exists():
        raise ConfigError(f"{journal}: no such file")
    keys = {spki_fingerprint(key): key}
    finding = verify_journal(journal, box_id(key), keys, _progress if sys.stderr.isatty() else _quiet)
    if options.json:
        print(msgspec.json.encode(finding).decode())
    else:
        print(
            f"{finding.events} events in {finding.epochs} epochs, {finding.heads} signed heads, {finding.sales} sales"
        )
        if fault := finding.fault:
            print(f"FAULT at {fault.epoch}/{fault.seq}: {fault.code}: {fault.detail}")
    return FAILED if finding.fault else FINE


def _configured(options: argparse.Namespace) -> Config:
    config = load_config(options.config)
    config.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    return config


def _ask_daemon(config: Config) -> bytes:
    files = files_in(config)
    try:
        host, _, port = files.url.read_text().removeprefix("http://").rpartition(":")
        token = files.console_token.read_text()
    except FileNotFoundError as error:
        raise ConfigError("the box has never run with this state directory") from error
    connection = http.client.HTTPConnection("127.0.0.1" if host == "0.0.0.0" else host, int(port), timeout=5)  # noqa: S104
    try:
        connection.request("GET", "/v1/status", headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise CloudError(f"the box answered {response.status}")
    return body


def _print_table(view: Status) -> None:
    journal = view.journal
    rows = {
        "box": f"{view.box}, shop {view.shop}, storebox {view.software}",
        "state": f"{view.state} ({view.mode.cause}), proposes {view.mode.mode} mode since {view.mode.changed_at}",
        "journal": f"epoch {journal.epoch}, seq {journal.seq}, head {journal.head[:16]}",
        "cloud": f"has up to seq {journal.synced_seq}; {journal.backlog} wait, oldest {journal.oldest_waiting_s:.0f} s",
        "catalogue": f"version {view.catalogue_version}, {view.articles} articles, {view.catalogue_age_s:.0f} s old",
        "tills": f"{view.tills_seen} seen, {view.sales_accepted} sales accepted since start",
        "issues": ", ".join(view.issues) or "none",
    }
    for name, text in rows.items():
        print(f"{name:<10} {text}")


def _progress(events: int) -> None:
    print(f"\r{events} events", end="", file=sys.stderr, flush=True)


def _quiet(events: int) -> None:
    """Nobody watches."""


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

    enrol_command = commands.add_parser(
        "enrol", parents=[configured], help="join a shop with a token of head office"
    )
    enrol_command.add_argument("--cloud", required=True, metavar="URL", help="address of head office")
    enrol_command.add_argument(
        "--token", required=True, help="single-use token of `storebox-cloud enrol-token`"
    )
    enrol_command.set_defaults(command=enrol_box)

    pair_command = commands.add_parser("pair", parents=[configured], help="print a new token for a till")
    pair_command.add_argument("--till", required=True, metavar="ID", help="the till's id, as in its sales")
    pair_command.set_defaults(command=pair)

    status_command = commands.add_parser(
        "status", parents=[configured], help="what the running box says of itself"
    )
    status_command.add_argument("--json", action="store_true")
    status_command.set_defaults(command=status)

    check_command = commands.add_parser(
        "check", parents=[configured], help="check configuration, key and enrolment"
    )
    check_command.set_defaults(command=check)

    verify_command = commands.add_parser(
        "verify", parents=[configured], help="walk a journal, name its first fault"
    )
    verify_command.add_argument(
        "--journal", type=Path, metavar="FILE", help="another journal than the box's own"
    )
    verify_command.add_argument(
        "--key", type=Path, metavar="PEM", help="the public key of the box that wrote it"
    )
    verify_command.add_argument("--json", action="store_true")
    verify_command.set_defaults(command=verify)
    return parser


if __name__ == "__main__":
    main()

"""Commands of the small root units, `storebox update serve` and `settle`, and `storebox prove`."""

import argparse
import asyncio
import os
import secrets
import subprocess
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec

from appliance.config import Config, load_config
from appliance.domain.dsse import spki_fingerprint
from appliance.domain.errors import ChainFault, ConfigError, StoreboxError
from appliance.domain.identity import box_id
from appliance.domain.statements import Keys
from appliance.domain.update import Reason, Verdict
from appliance.domain.wire import TrialAnswer
from appliance.gateways.daemon import ask_daemon
from appliance.gateways.identity import Identity
from appliance.gateways.mdns import look_around
from appliance.gateways.mdns_lookup import look_up
from appliance.gateways.rauc import Rauc
from appliance.gateways.units import ended_by_itself, first_started_s, proof_begins
from appliance.places import files_in
from appliance.runtime.clock import SystemClock
from appliance.runtime.keyfile import read_public_pem
from appliance.runtime.logs import log_to_stderr
from appliance.services.installing import Installer
from appliance.services.proving import Check, Hopeless, proof_s, prove
from appliance.services.trial import trial_sale
from appliance.services.verification import verify_journal
from appliance.storage.update_files import UpdateFiles, UpdateRecords
from appliance.updating import machine

FINE, FAILED = 0, 1
# What the boot loader's backend wants to be told at the restart (image/rauc/tryboot).
REBOOT_ARGUMENT = Path("/run/storebox-reboot-argument")
MDNS_S = 5.0
# To walk a long journal on a slow card; the daemon itself has proven its end before it answers.
JOURNAL_S = 600.0
# So many ends before it ever answered; one is what a damaged journal costs, which is set aside at the next start.
ENDED_MAX = 3
# The prover ends by itself; this is for one that does not.
SPARE_S = 30.0
VERDICT_BYTES_MAX = 65_536


def add_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", configured: argparse.ArgumentParser
) -> None:
    """Make the commands known."""
    groups = commands.add_parser("update", help="what the root units do about updates").add_subparsers(
        required=True, metavar="ACTION"
    )
    command = groups.add_parser("serve", parents=[configured], help="do what the daemon asks (as root)")
    command.set_defaults(command=serve)
    command = groups.add_parser(
        "settle", parents=[configured], help="after a start: keep a release on trial, or go back (as root)"
    )
    command.set_defaults(command=settle)
    command = commands.add_parser(
        "prove", parents=[configured], help="whether the running box can serve its shop; changes nothing"
    )
    command.add_argument("--json", action="store_true")
    command.set_defaults(command=prove_box)


def serve(options: argparse.Namespace) -> int:
    """Do what the daemon asks, if it asks anything."""
    log_to_stderr()
    _installer(load_config(options.config)).serve()
    return FINE


def settle(options: argparse.Namespace) -> int:
    """Keep the release that is on trial once it has proven itself, or go back."""
    log_to_stderr()
    config = load_config(options.config)
    _installer(config).settle(lambda: _proven(config))
    return FINE


def prove_box(options: argparse.Namespace) -> int:
    """Whether the running box can serve its shop; 1 when not, with the reason."""
    config = load_config(options.config)
    verdict = asyncio.run(_prove(config, config.update.prove_s))
    if options.json:
        print(msgspec.json.encode(verdict).decode())
    else:
        print("proven" if verdict.reason is None else f"{verdict.reason}: {verdict.detail}")
    return FINE if verdict.reason is None else FAILED


def _installer(config: Config) -> Installer:
    here = machine(config)
    if here is None:
        raise ConfigError(f"{config.update.system}: not there, so this box is not updated by slots")
    return Installer(
        UpdateFiles(files_in(config).update),
        UpdateRecords(config.update.records),
        Rauc(config.update.system),
        here.version,
        SystemClock().boot,
        _restart,
    )


def _restart() -> None:
    command = ["systemctl", "reboot", "--no-block"]
    if REBOOT_ARGUMENT.exists():
        command.append(f"--reboot-argument={REBOOT_ARGUMENT.read_text().strip()}")
    subprocess.run(command, check=True)  # noqa: S603  a fixed program, and no shell reads the arguments


def _proven(config: Config) -> Verdict:
    """The proof, by a process of the daemon's user: whatever hangs or falls there, this one goes on.

    Forked, since a box that starts has better to do than to load the same program twice; it has no threads yet.
    """
    proof_begins()
    within_s = proof_s(config.update.prove_s, SystemClock().monotonic(), first_started_s())
    hears, tells = get_context("fork").Pipe(duplex=False)
    prover = get_context("fork").Process(target=_prove_as_owner, args=(config, within_s, tells))
    prover.start()
    tells.close()
    try:
        if not hears.poll(within_s + JOURNAL_S + SPARE_S):
            return Verdict(Reason.TOO_SLOW, "the proof did not end")
        # Bytes: what that user says is not unpickled as root.
        return msgspec.json.decode(hears.recv_bytes(VERDICT_BYTES_MAX), type=Verdict)
    except (OSError, EOFError, msgspec.DecodeError) as error:
        return Verdict(Reason.TOO_SLOW, f"the proof did not run: {error!r}")
    finally:
        prover.kill()
        prover.join()
        hears.close()


def _prove_as_owner(config: Config, within_s: float, tells: Connection) -> None:
    owner = config.state.stat()
    os.setgroups([])
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)
    tells.send_bytes(msgspec.json.encode(asyncio.run(_prove(config, within_s))))


async def _prove(config: Config, within_s: float) -> Verdict:
    clock = SystemClock()
    until_s = clock.monotonic() + within_s

    def left_s() -> float:
        return max(0.0, until_s - clock.monotonic())

    checks = [
        Check(Reason.PORT_SILENT, partial(_port_answers, config), left_s),
        Check(Reason.SALE_FAILED, partial(_sale_comes_through, config, clock), left_s),
        Check(Reason.MDNS_SILENT, partial(_found_by_mdns, config), left_s),
        Check(Reason.JOURNAL_UNPROVEN, partial(_journal_holds, config), lambda: JOURNAL_S, once=True),
    ]
    return await prove(checks, clock)


async def _port_answers(config: Config) -> None:
    files = files_in(config)
    try:
        await asyncio.to_thread(ask_daemon, files.url, files.console_token, "GET", "/readyz")
    except (StoreboxError, OSError) as error:
        # The shop has no box meanwhile: a daemon that falls again and again is not waited for.
        if (ended := await asyncio.to_thread(ended_by_itself)) >= ENDED_MAX:
            raise Hopeless(f"the daemon has ended {ended} times: {error}") from error
        raise


async def _sale_comes_through(config: Config, clock: SystemClock) -> None:
    """Sold over HTTP, and then read from the disk by this process."""
    files = files_in(config)
    sale = trial_sale(clock.wall(), secrets.randbits(62)).encode()
    body = await asyncio.to_thread(ask_daemon, files.url, files.console_token, "POST", "/v1/trial", sale)
    try:
        answer = msgspec.json.decode(body, type=TrialAnswer)
    except msgspec.DecodeError as error:
        raise StoreboxError(f"the answer cannot be read: {error}") from error
    key = read_public_pem(answer.key)
    await asyncio.to_thread(_walk, files.trial, box_id(key), {spki_fingerprint(key): key}, sales=1)


async def _found_by_mdns(config: Config) -> None:
    place = await asyncio.to_thread(look_around, config.mdns.interfaces)
    if not config.mdns.enabled or not place.interfaces:
        return  # nobody is asked to find it this way, or no cable is in: it answers on its port all the same
    identity = await asyncio.to_thread(Identity, config.state)
    await look_up(identity.box, place, MDNS_S)


async def _journal_holds(config: Config) -> None:
    identity = await asyncio.to_thread(Identity, config.state)
    await asyncio.to_thread(_walk, files_in(config).journal, identity.box, identity.keychain.keys)


def _walk(path: Path, box: str, keys: Keys, *, sales: int = 0) -> None:
    finding = verify_journal(path, box, keys, lambda _events: None)
    if fault := finding.fault:
        raise ChainFault(f"{fault.code} at {fault.epoch}/{fault.seq}: {fault.detail}")
    if finding.sales < sales:
        raise ChainFault(f"{path.name} holds {finding.sales} sales")

"""Commands about the journal itself: `storebox verify` and `export`."""

import argparse
import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance.config import Config, load_config
from appliance.domain.canonical import canonical
from appliance.domain.dsse import spki_fingerprint
from appliance.domain.errors import BadSignature, ConfigError, Malformed, StoreboxError
from appliance.domain.identity import box_id
from appliance.domain.keychain import keys_after
from appliance.domain.statements import Keys
from appliance.domain.wire import ExportNote
from appliance.gateways.daemon import ask_daemon
from appliance.gateways.identity import Identity
from appliance.gateways.keyring import ROTATIONS, Keyring, read_rotations
from appliance.places import files_in
from appliance.runtime.clock import SystemClock, rfc3339
from appliance.runtime.keyfile import public_pem, read_public_pem
from appliance.services.chainwalk import Progress
from appliance.services.export import export_to_folder, export_to_stream
from appliance.services.verification import Finding, verify_export, verify_journal
from appliance.stopped import record_export
from appliance.storage.archive import MANIFEST, ArchiveReader, PublicKeys

FINE, FAILED = 0, 1
JOURNAL, BOX_KEY = "journal.db", "box-key.pem"


def add_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", configured: argparse.ArgumentParser
) -> None:
    """Make the commands known."""
    verify_command = commands.add_parser(
        "verify", parents=[configured], help="walk a journal, an export or a card, and name the first fault"
    )
    verify_command.add_argument(
        "path",
        type=Path,
        nargs="?",
        metavar="PATH",
        help="a journal's file, an export's folder, or another box's state folder; else the box's own journal",
    )
    verify_command.add_argument("--journal", type=Path, metavar="FILE", help="the same as PATH")
    verify_command.add_argument(
        "--key", type=Path, metavar="PEM", help="the public key of the box that wrote it"
    )
    verify_command.add_argument("--json", action="store_true")
    verify_command.set_defaults(command=verify)

    export_command = commands.add_parser(
        "export", parents=[configured], help="write the journal out as plain files that anybody can verify"
    )
    export_command.add_argument(
        "--to", required=True, metavar="DIR", help="an empty or new folder; `-`: a tar on standard output"
    )
    export_command.set_defaults(command=export)


def verify(options: argparse.Namespace) -> int:
    """Walk a journal, an export or a card, and name the first fault; 1 when there is one."""
    progress = _progress if sys.stderr.isatty() else _quiet
    finding = _verified(options, options.path or options.journal, progress)
    if options.json:
        print(msgspec.json.encode(finding).decode())
        return FAILED if finding.fault else FINE
    print(
        f"{finding.events} events in {finding.epochs} epochs, {finding.heads} signed heads, {finding.sales} sales,"
        f" {finding.pruned} events pruned before"
    )
    if fault := finding.fault:
        print(f"FAULT at {fault.epoch}/{fault.seq}: {fault.code}: {fault.detail}")
    return FAILED if finding.fault else FINE


def export(options: argparse.Namespace) -> int:
    """Write the journal out, and record that in the chain if it can be written to."""
    config = load_config(options.config)
    journal = _existing(files_in(config).journal)
    identity, at = Identity(config.state), rfc3339(SystemClock().wall())
    first = next(key for key in identity.keychain.keys.values() if box_id(key) == identity.box)
    pem = "".join([public_pem(first), *identity.enrolment().answer.cloud_keys])
    keys = PublicKeys(pem, canonical(identity.rotations))
    if options.to == "-":
        note = export_to_stream(journal, sys.stdout.buffer, box=identity.box, at=at, keys=keys)
    else:
        note = export_to_folder(journal, Path(options.to), box=identity.box, at=at, keys=keys)
    print(f"{note.events} events up to {note.epoch}/{note.seq}", file=sys.stderr)
    _record(config, note)
    return FINE


def _record(config: Config, note: ExportNote) -> None:
    files = files_in(config)
    try:
        try:
            asyncio.run(record_export(config, SystemClock(), note))
        except ConfigError:  # the daemon holds the journal
            body = msgspec.json.encode(note)
            ask_daemon(files.url, files.console_token, "POST", "/v1/exports", body)
    except (StoreboxError, OSError) as error:
        # A journal that cannot be written to is the very one that must be exported.
        print(f"storebox: the export is whole, but the journal does not record it: {error}", file=sys.stderr)


def _verified(options: argparse.Namespace, path: Path | None, progress: Progress) -> Finding:
    if path is None:
        config = load_config(options.config)
        identity = Identity(config.state)
        journal, keys = _existing(files_in(config).journal), identity.keychain.keys
        return verify_journal(journal, identity.box, keys, progress, cloud_keys=identity.enrolment().keys())
    if (_existing(path) / MANIFEST).exists():
        trust = _trust_of_export(path, options.key)
        return verify_export(path, trust.box, trust.keys, trust.cloud_keys, progress)
    journal = _existing(path / JOURNAL if path.is_dir() else path)
    box, keys = keys_of_journal(journal, options.key)
    return verify_journal(journal, box, keys, progress)


class _Trust(NamedTuple):
    box: str
    keys: Keys
    cloud_keys: Keys


def _trust_of_export(folder: Path, given: Path | None) -> _Trust:
    """Whom to believe: the key given, else the one in the export from which its box's name follows."""
    archive = ArchiveReader(folder)
    try:
        brought = [read_public_pem(pem) for pem in archive.public_keys()]
        box = archive.manifest().box
    except (OSError, Malformed) as error:
        raise ConfigError(f"{folder}: {error}") from error
    own = [read_public_pem(given.read_text())] if given else [key for key in brought if box_id(key) == box]
    if not own:
        raise ConfigError(f"{folder} brings no key of {box}: give --key")
    try:
        followed = keys_after(box_id(own[0]), archive.rotations(), own[0])
    except (Malformed, BadSignature) as error:
        raise ConfigError(f"{folder}: {error}") from error
    return _Trust(box_id(own[0]), followed.keys, _keys(key for key in brought if box_id(key) != box))


def keys_of_journal(journal: Path, given: Path | None) -> tuple[str, Keys]:
    """The box that wrote a journal and its keys: by the first key, given, or by the files beside the journal."""
    if given is not None:
        key = read_public_pem(given.read_text())
        rotations = read_rotations(journal.with_name(ROTATIONS))
        return box_id(key), keys_after(box_id(key), rotations, key).keys
    if journal.with_name(BOX_KEY).exists():
        ring = Keyring(journal.parent)
        return ring.box, ring.keychain.keys
    raise ConfigError(f"{journal} needs --key: the public key of the box that wrote it")


def _keys(keys: Iterable[Ed25519PublicKey]) -> Keys:
    return {spki_fingerprint(key): key for key in keys}


def _existing(path: Path) -> Path:
    if not path.exists():
        raise ConfigError(f"{path}: no such file")
    return path


def _progress(events: int) -> None:
    print(f"\r{events} events", end="", file=sys.stderr, flush=True)


def _quiet(events: int) -> None:
    """Nobody watches."""

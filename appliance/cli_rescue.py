"""`storebox rescue`: bring what a dead box's card still holds to head office. The card is only read."""

import argparse
import asyncio
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from appliance.config import load_config
from appliance.domain.dsse import spki_fingerprint
from appliance.domain.errors import ConfigError, NotFound
from appliance.gateways.ext4 import NoReader, copy_states, unclean
from appliance.gateways.identity import Identity
from appliance.gateways.rescue import open_rescue
from appliance.runtime.keyfile import read_public_pem
from appliance.services.rescue import RescueReport, box_of, rescue
from appliance.storage.branches import carve_cards
from appliance.storage.partitions import file_systems, is_raw
from appliance.storage.salvage import Card, cards_in, read_card

FINE, FAILED = 0, 1
TOKEN = "STOREBOX_RESCUE_TOKEN"  # noqa: S105  the name of a variable


def add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", configured: argparse.ArgumentParser
) -> None:
    """Make the command known."""
    command = commands.add_parser(
        "rescue", parents=[configured], help="bring what a dead box's card still holds to head office"
    )
    command.add_argument(
        "card",
        type=Path,
        metavar="PATH",
        help="the dead box's card (a device that is not mounted, or its image), journal.db, state folder, or export",
    )
    command.add_argument("--cloud", metavar="URL", help="head office; else that of the box of --config")
    command.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help=f"what `storebox-cloud technician-token` printed; else it is in {TOKEN}",
    )
    command.add_argument(
        "--work",
        type=Path,
        metavar="DIR",
        help="where copies stand meanwhile; else the box's state folder, or with --cloud this folder",
    )
    command.add_argument("--json", action="store_true")
    command.set_defaults(command=rescue_card)


def rescue_card(options: argparse.Namespace) -> int:
    """Bring what a card holds to head office, in a technician's name; 0 only when nothing is missing."""
    path: Path = options.card
    if not path.exists():
        raise ConfigError(f"{path}: no such file")
    desk, work = _desk(options)
    with TemporaryDirectory(dir=work, prefix="rescue-") as folder:
        if is_raw(path):
            _rescue_raw(path, Path(folder), desk)
        else:
            _rescue_files(path, Path(folder), desk)
    return FINE if all(desk.whole) else FAILED


class _Desk:
    """Brings one card after another; `whole` says of each whether nothing of it is missing."""

    def __init__(self, url: str, token: str, *, as_json: bool) -> None:
        self._url = url
        self._token = token
        self._as_json = as_json
        self.whole: list[bool] = []

    def bring(self, name: str, card: Card) -> None:
        """Bring a card's events. Raises NotFound when it holds none."""
        report = asyncio.run(self._rescue(card, box_of(card)))
        _clear()
        self.whole.append(not report.missing and not report.refused)
        if self._as_json:
            print(msgspec.json.encode(report).decode(), flush=True)
        else:
            _print(name, report)

    async def _rescue(self, card: Card, box: str) -> RescueReport:
        async with open_rescue(self._url, self._token) as cloud:
            view = await cloud.look(box)
            key = read_public_pem(view.public_key)
            return await rescue(card, view, {spki_fingerprint(key): key}, cloud, _recovered)


def _desk(options: argparse.Namespace) -> tuple[_Desk, Path]:
    token = _token(options.token_file)
    if not token:
        raise ConfigError(f"--token-file or {TOKEN}: a token of `storebox-cloud technician-token` is needed")
    url, work = options.cloud, options.work or Path()
    if url is None:
        config = load_config(options.config)
        url = config.cloud.url or Identity(config.state).enrolment().cloud_url
        work = options.work or config.state
    if not work.is_dir():
        raise ConfigError(f"--work: {work} is no folder")
    return _Desk(url, token, as_json=options.json), work


def _token(file: Path | None) -> str:
    """A technician's token; never an option, since every program on a machine can read those."""
    if file is None:
        return os.environ.get(TOKEN, "")
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read") from error


def _rescue_files(path: Path, work: Path, desk: _Desk) -> None:
    cards = cards_in(path)
    if not cards:
        raise ConfigError(f"{path} holds no journal")
    for one in cards:
        with read_card(one, work) as card:
            desk.bring(one.name, card)


def _rescue_raw(path: Path, work: Path, desk: _Desk) -> None:
    """First by its file systems; then, unless all of that is sound and up to date, by its bare blocks."""
    sound: list[bool] = []
    try:
        for begin in file_systems(path):
            for state in copy_states(path, begin, work / str(begin)):
                # What ext4 had not yet written where it belongs is not in the copy.
                sound.append(_bring_state(path.name, state, work, desk) and not unclean(path, begin))
    except NoReader as error:
        print(
            f"storebox: {error}. The card's file system is not read; its blocks are searched", file=sys.stderr
        )
    if not (sound and all(sound)) and not _search(path, work, desk) and not desk.whole:
        raise NotFound(f"{path}: no event of a box stands there")


def _bring_state(name: str, folder: Path, work: Path, desk: _Desk) -> bool:
    """Whether every journal in a folder copied off the card is sound."""
    sound = True
    for one in cards_in(folder):
        try:
            with read_card(one, work) as card:
                sound = sound and not card.damaged
                desk.bring(f"{name}: {'journal.db' if one.is_dir() else one.name}", card)
        except NotFound:
            sound = False
    return sound


def _search(path: Path, work: Path, desk: _Desk) -> bool:
    """Search the bare blocks; whether anything was found. What was found decides what is missing."""
    with carve_cards(path, work, _searched) as cards:
        _clear()
        if cards:
            desk.whole.clear()
        for card in cards:
            desk.bring(f"{path.name}: searched block by block", card)
        return bool(cards)


def _print(name: str, report: RescueReport) -> None:
    print(f"{name}, of {report.box}{', damaged' if report.damaged else ''}")
    for refusal in report.refused:
        print(f"REFUSED: {refusal}")
    print(f"{report.recovered} recovered, {report.missing} missing", flush=True)


def _recovered(events: int) -> None:
    _say(f"{events} events")


def _searched(done: int, size: int) -> None:
    _say(f"{done * 100 // max(size, 1)} % of the card searched")


def _clear() -> None:
    _say("")


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:<40}\r{text}", end="", file=sys.stderr, flush=True)

"""Commands about who the box is: `storebox enrol`, `identity` and `key rotate`."""

import argparse
import asyncio
import random
import sys
from pathlib import Path
from typing import Literal

import msgspec
import segno

from appliance.config import Config, load_config
from appliance.domain.enrolling import Claim, EnrolAnswer, read_claim
from appliance.domain.errors import ConfigError, Malformed
from appliance.gateways.est import EnrolmentOffice
from appliance.gateways.identity import Identity
from appliance.places import files_in
from appliance.runtime.clock import Clock, SystemClock
from appliance.runtime.files import sole_owner
from appliance.runtime.trusted_time import TrustedClock
from appliance.services.enrolling import Enroller
from appliance.stopped import rotate_key

FINE = 0


class IdentityView(msgspec.Struct, frozen=True):
    """Who the box is: what a claim can be bound to, and what stands on its label."""

    box: str
    fp: str
    spki: str
    state: Literal["unclaimed", "pending", "enrolled"]
    shop: str


def add_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", configured: argparse.ArgumentParser
) -> None:
    """Make the commands known."""
    enrol_command = commands.add_parser(
        "enrol", parents=[configured], help="join a shop with a claim of head office"
    )
    claim = enrol_command.add_mutually_exclusive_group(required=True)
    claim.add_argument("--claim", metavar="TEXT", help="what `storebox-cloud claim` printed")
    claim.add_argument("--claim-file", type=Path, metavar="FILE", help="a file with it; `-`: standard input")
    enrol_command.set_defaults(command=enrol_box)

    identity_command = commands.add_parser(
        "identity", parents=[configured], help="who this box is, to be shown to people"
    )
    identity_command.add_argument("--json", action="store_true")
    identity_command.add_argument("--qr", action="store_true", help="also as a QR code, as on the label")
    identity_command.set_defaults(command=show_identity)

    key_command = commands.add_parser("key", help="the key that signs events")
    key_actions = key_command.add_subparsers(required=True, metavar="ACTION")
    rotate_command = key_actions.add_parser(
        "rotate", parents=[configured], help="go on under a new key; the box must be stopped"
    )
    rotate_command.set_defaults(command=rotate)


def enrol_box(options: argparse.Namespace) -> int:
    """Exchange a claim for an enrolment, of a box that is not running."""
    config, claim = _configured(options), _claim(options)
    if config.claim.authority not in ("", claim.pin):
        raise ConfigError("the claim is of another head office than claim.authority says")
    with sole_owner(files_in(config).lock):
        answer = asyncio.run(_enrol(config, claim, SystemClock()))
    print(f"{answer.box} is enrolled for shop {answer.shop} ({answer.shop_name})")
    return FINE


def show_identity(options: argparse.Namespace) -> int:
    """Who the box is; makes its keys if there are none."""
    config = _configured(options)
    identity = _identity(config)
    state = identity.state()
    shop = identity.enrolment().answer.shop if state == "enrolled" else ""
    view = IdentityView(identity.box, identity.signer.key_id, identity.spki, state, shop)
    if options.json:
        print(msgspec.json.encode(view).decode())
        return FINE
    grouped = " ".join(view.fp[start : start + 4] for start in range(0, len(view.fp), 4))
    print(
        f"box    {view.box}\nkey    {grouped}\nTLS    {view.spki}\nstate  {view.state}{shop and f' for shop {shop}'}"
    )
    if options.qr:
        segno.make(f"storebox:box?v=1&b={view.box}&f={view.fp}").terminal(out=sys.stdout, compact=True)
    return FINE


def rotate(options: argparse.Namespace) -> int:
    """Replace the event key; the box keeps its name."""
    identity, end = asyncio.run(rotate_key(_configured(options), SystemClock()))
    print(f"{identity.box} signs with {identity.signer.key_id} from epoch {end.epoch} on")
    return FINE


async def _enrol(config: Config, claim: Claim, clock: Clock) -> EnrolAnswer:
    files = files_in(config)
    time = await asyncio.to_thread(TrustedClock, clock, files.time_floor)
    enroller = Enroller(
        await asyncio.to_thread(Identity, config.state),
        EnrolmentOffice(time),
        time,
        random.Random(),
        authority=config.claim.authority,
        url=config.cloud.url,
    )
    answer = await enroller.attempt(claim)
    await asyncio.to_thread(time.save, at_stop=True)
    return answer


def _identity(config: Config) -> Identity:
    """The identity; only who holds the lock may make keys, else two would."""
    if all((config.state / name).exists() for name in ("box-key.pem", "till-ca.pem")):
        return Identity(config.state)
    with sole_owner(files_in(config).lock):
        return Identity(config.state)


def _claim(options: argparse.Namespace) -> Claim:
    try:
        return read_claim(options.claim or _text(options.claim_file))
    except (Malformed, UnicodeDecodeError) as error:
        raise ConfigError(f"the claim cannot be read: {error}") from error


def _text(file: Path) -> str:
    return sys.stdin.read() if str(file) == "-" else file.read_text()


def _configured(options: argparse.Namespace) -> Config:
    config = load_config(options.config)
    config.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    return config

"""A dead box and the one that takes its place; and a box that shall be believed no more."""

import argparse
import asyncio

import msgspec

from appliance.domain.enrolling import ClaimOrder
from appliance.runtime.clock import SystemClock
from provisioning import office, show
from provisioning.claim import Done, hand_on, sentence
from provisioning.errors import FINE
from provisioning.office import open_office


class Revoked(msgspec.Struct, frozen=True):
    """A box that is believed no more."""

    box: str
    revoked: bool = True


def swap(args: argparse.Namespace) -> int:
    """A claim for a new box in a dead one's place; the old one is revoked as the new one enrols."""
    done = asyncio.run(_swap(args))
    show.answer(args, done, sentence(done))
    return FINE


def revoke(args: argparse.Namespace) -> int:
    """Believe a box no more."""
    asyncio.run(_revoke(args))
    show.answer(args, Revoked(args.box), f"{args.box} is revoked")
    return FINE


async def _swap(args: argparse.Namespace) -> Done:
    async with open_office(office.credentials(args)) as desk:
        old = await desk.box(args.old)
        show.step(f"{old.box} of shop {old.shop}: {old.state}, last heard {old.heard_at or 'never'}")
        if old.backlog:
            show.step(
                f"it still owed head office {old.backlog} events: bring its card in with `storebox rescue`, "
                "now or later"
            )
        order = ClaimOrder(old.shop, minutes=args.minutes, key_hash=args.key_hash, replaces=old.box)
        done = await hand_on(args, SystemClock(), desk, order)
        return msgspec.structs.replace(done, owed=old.backlog)


async def _revoke(args: argparse.Namespace) -> None:
    async with open_office(office.credentials(args)) as desk:
        await desk.revoke(args.box, args.reason)

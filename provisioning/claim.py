"""Bring a new box to life: a claim from head office, handed to the box, and the wait until the shop can sell."""

import argparse
import asyncio
from pathlib import Path

import aiohttp
import msgspec

from appliance.domain.enrolling import ClaimAnswer, ClaimOrder
from appliance.domain.errors import ConfigError
from appliance.runtime.clock import Clock, SystemClock
from appliance.runtime.files import write_whole
from provisioning import office, show
from provisioning.box import Box, meet
from provisioning.errors import FINE, Failed, NoAnswer, Refused
from provisioning.office import Office, open_office

# A box that was just switched on needs a minute until it answers.
WAIT_S = 120.0
LOOK_EVERY_S = 0.5
# After enrolment the box opens its port anew; by then it answers there, or on another port.
BACK_S = 30.0


class Done(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a claim came to. `claim` only when it was not handed on; `state`: `made`, `enrolled`, `ready`."""

    shop: str
    expires_at: str
    state: str
    claim: str = ""
    box: str = ""
    file: str = ""
    replaces: str = ""
    owed: int | None = None


def claim(args: argparse.Namespace) -> int:
    """A single-use claim for a new box; printed, written to a file, or handed to the box."""
    done = asyncio.run(_claim(args, SystemClock()))
    show.answer(args, done, sentence(done))
    return FINE


async def _claim(args: argparse.Namespace, clock: Clock) -> Done:
    order = ClaimOrder(args.shop, args.name, args.minutes, args.key_hash)
    async with open_office(office.credentials(args)) as desk:
        return await hand_on(args, clock, desk, order)


async def hand_on(args: argparse.Namespace, clock: Clock, desk: Office, order: ClaimOrder) -> Done:
    """Ask for a claim and bring it where the options say: into a file, to a box, or back to the caller."""
    if args.box:
        return await _bring(args, clock, desk, order)
    made = await desk.claim(order)
    if args.to is None:
        return _done(order, made, "made", claim=made.claim)
    await asyncio.to_thread(write_claim, args.to, made.claim)
    return _done(order, made, "made", file=str(args.to))


def write_claim(path: Path, text: str) -> None:
    """Keep a claim in a file that nobody else reads. Blocks. Raises ConfigError when it cannot be written."""
    try:
        write_whole(path, text.encode() + b"\n", mode=0o600)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


def sentence(done: Done) -> str:
    """The answer for people; a claim that was not handed on stands alone, to be copied."""
    if done.claim:
        return done.claim
    if done.file:
        return f"the claim for shop {done.shop} is in {done.file}, until {done.expires_at}"
    return f"{done.box} is {done.state} in shop {done.shop}"


async def _bring(args: argparse.Namespace, clock: Clock, desk: Office, order: ClaimOrder) -> Done:
    async with aiohttp.ClientSession() as session:
        box = await _found(session, clock, args.box, args.wait)
        show.step(f"found {box.hello.box}; key hash {box.hello.fp}: compare with the label")
        if order.key_hash and order.key_hash != box.hello.fp:
            raise Failed(f"this is another box: its key hash is {box.hello.fp}")
        if box.hello.state != "unclaimed":
            raise Failed(f"{box.hello.box} is of shop {box.hello.shop} already; for another place, swap it")
        made = await desk.claim(msgspec.structs.replace(order, key_hash=box.hello.fp))
        show.step(f"claim for shop {made.shop} made, for this box alone, until {made.expires_at}")
        await box.give(made.claim)
        show.step("the box has the claim")
        await _enrolled(box, desk, clock, args.wait)
        show.step("enrolled")
        state = "ready" if await _ready(box, clock) else "enrolled"
        return _done(order, made, state, box=box.hello.box)


async def _found(session: aiohttp.ClientSession, clock: Clock, where: str, wait_s: float) -> Box:
    until_s, told = clock.monotonic() + wait_s, False
    while True:
        try:
            return await meet(session, where)
        except NoAnswer:
            if clock.monotonic() >= until_s:
                raise
        if not told:
            show.step(f"waiting for the box at {where}")
            told = True
        await clock.sleep(LOOK_EVERY_S)


async def _enrolled(box: Box, desk: Office, clock: Clock, wait_s: float) -> None:
    """Wait until the box is enrolled. One whose port is closed already is asked for at head office."""
    until_s = clock.monotonic() + wait_s
    while clock.monotonic() < until_s:
        try:
            state = await box.claim_state()
        except (NoAnswer, Refused):
            if any(one.box == box.hello.box and one.revoked_at is None for one in await desk.boxes()):
                return
        else:
            if state.state == "enrolled":
                return
            if state.state == "refused":
                raise Refused(f"head office did not let the box in: {state.detail}", problem="claim-refused")
        await clock.sleep(LOOK_EVERY_S)
    raise NoAnswer(f"{box.hello.box} has the claim, but did not reach head office within {wait_s:.0f} s")


async def _ready(box: Box, clock: Clock) -> bool:
    """Whether the box serves tills where it was met; it may have taken another port."""
    until_s = clock.monotonic() + BACK_S
    while clock.monotonic() < until_s:
        try:
            if (await box.again()).state == "ready":
                return True
        except (NoAnswer, Refused):
            pass  # it is just changing over
        await clock.sleep(LOOK_EVERY_S)
    return False


def _done(
    order: ClaimOrder, made: ClaimAnswer, state: str, *, claim: str = "", box: str = "", file: str = ""
) -> Done:
    return Done(made.shop, made.expires_at, state, claim, box, file, order.replaces)

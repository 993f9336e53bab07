"""Whether a box can serve its shop: what a new release must show before it is kept. It never asks for a line.

A check is tried again until it holds or its time is over: a box that has just started needs a moment. Only what no time
can mend is looked at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from appliance.domain.errors import StoreboxError
from appliance.domain.update import Reason, Verdict
from appliance.runtime.clock import Clock

AGAIN_S = 1.0
# However long after the daemon's start a proof begins, it has so much of its time: on a slow box all programs start
# side by side.
LEAST_SHARE = 0.5


class Hopeless(Exception):
    """It does not hold, and no time will mend that; the text says why."""


class Check(NamedTuple):
    """What must hold, and what it means when it does not. `look` raises StoreboxError or OSError with the reason.

    It raises Hopeless when nobody needs to wait any longer.

    `within_s` tells, as the check begins, how long it may take.
    """

    reason: Reason
    look: Callable[[], Awaitable[None]]
    within_s: Callable[[], float]
    once: bool = False


def proof_s(prove_s: float, now_s: float, started_s: float | None) -> float:
    """How long a proof that begins now may take: until `prove_s` after the daemon's first start, if that is known."""
    if started_s is None:
        return prove_s
    return max(started_s + prove_s - now_s, prove_s * LEAST_SHARE)


async def prove(checks: Sequence[Check], clock: Clock) -> Verdict:
    """The verdict of all checks, one after the other; the first that does not hold in its time decides."""
    for check in checks:
        verdict = await _in_time(check, clock)
        if verdict.reason is not None:
            return verdict
    return Verdict()


async def _in_time(check: Check, clock: Clock) -> Verdict:
    said = ""

    async def held() -> None:
        nonlocal said
        while True:
            try:
                await check.look()
            except Hopeless as error:
                said = str(error)
                return
            except (StoreboxError, OSError) as error:
                said = str(error) or type(error).__name__
                if check.once:
                    return
                await clock.sleep(AGAIN_S)
            else:
                said = ""
                return

    look = asyncio.create_task(held(), name=f"prove {check.reason}")
    end = asyncio.create_task(clock.sleep(check.within_s()), name="prove: time")
    try:
        await asyncio.wait((look, end), return_when=asyncio.FIRST_COMPLETED)
        if look.done():
            look.result()  # an error that nobody expected is a bug, and no verdict
            return Verdict(check.reason, said) if said else Verdict()
    finally:
        for task in (look, end):
            task.cancel()
        await asyncio.gather(look, end, return_exceptions=True)
    return Verdict(check.reason, said) if said else Verdict(Reason.TOO_SLOW, f"{check.reason}: no answer")

"""Keep loops alive: a bug in one costs a restart of that one, and is never ignored.

Operating errors (the line is down, the cloud is busy) are handled inside a service's own step. What escapes it is a
bug: logged once, restarted with back-off. Five quick crashes end the process; the next restart is systemd's.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from appliance.domain.errors import StoreboxError
from appliance.runtime.clock import Clock

log = logging.getLogger(__name__)

QUICK_CRASHES_MAX = 5
# A service that ran this long before it crashed starts counting anew.
STEADY_S = 300.0


class MustRestart(StoreboxError):
    """A service says that only a new process can go on. It ends this one, and is no crash."""


class CrashLoop(Exception):
    """A service crashed five times in quick succession. `str(error)` names it."""


@dataclass(frozen=True, slots=True)
class Service:
    """A named loop. `run` returns only when cancelled."""

    name: str
    run: Callable[[], Awaitable[None]]


async def keep_alive(service: Service, clock: Clock, rng: random.Random) -> None:
    """Run one service until cancelled. Raises CrashLoop at the fifth quick crash (a return counts), and MustRestart."""
    crashes = 0
    while True:
        began_s = clock.monotonic()
        try:
            await service.run()
            if not _is_being_cancelled():
                log.error("service.returned", extra={"service": service.name})
        except asyncio.CancelledError:
            # Otherwise it was something that the service waited for: nobody asked the service itself to end.
            if not _is_being_cancelled():
                log.exception("service.crashed", extra={"service": service.name})
        except MustRestart:
            raise
        except Exception:
            log.exception("service.crashed", extra={"service": service.name})
        if _is_being_cancelled():  # also when it failed on its way out: it must not be started again
            raise asyncio.CancelledError
        crashes = 1 if clock.monotonic() - began_s > STEADY_S else crashes + 1
        if crashes == QUICK_CRASHES_MAX:
            raise CrashLoop(service.name)
        await clock.sleep(rng.uniform(0.5, 1.0) * 2**crashes)


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@asynccontextmanager
async def supervised(services: Iterable[Service], clock: Clock, rng: random.Random) -> AsyncIterator[None]:
    """Run services while inside; all are stopped when the block is left.

    A CrashLoop or a MustRestart cancels the block and is raised at its end; an error of the block is raised as it is.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(keep_alive(s, clock, rng), name=s.name) for s in services]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
    except BaseExceptionGroup as failures:
        # The first is the cause of the others; who catches it should not have to know of the group.
        raise failures.exceptions[0] from None

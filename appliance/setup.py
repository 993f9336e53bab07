"""The unclaimed box: it shows who it is, waits for a claim, and ends as soon as it is enrolled."""

import asyncio
import contextlib
import logging
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from appliance.api.setup import make_setup_app
from appliance.config import Config
from appliance.domain.errors import StoreboxError
from appliance.gateways.est import EnrolmentOffice
from appliance.gateways.identity import Identity
from appliance.gateways.mdns import Announcer, Profile
from appliance.places import files_in
from appliance.runtime.clock import Clock
from appliance.runtime.files import sole_owner
from appliance.runtime.guard import Guard
from appliance.runtime.notify import notify
from appliance.runtime.serving import listening
from appliance.runtime.supervision import Service, supervised
from appliance.runtime.tls import server_context
from appliance.runtime.trusted_time import TrustedClock
from appliance.services.enrolling import Enroller
from appliance.services.liveness import Liveness
from appliance.services.rates import Rates

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Setup:
    """An unclaimed box that is served. `enrolled` ends when it is one no longer, with an error when it cannot."""

    identity: Identity
    host: str
    port: int
    tls: bool
    enrolled: asyncio.Task[None]

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"


async def until_enrolled(
    config: Config, clock: Clock, rng: random.Random, stop: asyncio.Event, tell: Callable[[Setup], None]
) -> Config | None:
    """Return once the box is enrolled, at once when it is; None when it was stopped before.

    `tell` hears that it is unclaimed. The configuration names the port that it was served at: it keeps it. Raises
    ConfigError (another process runs here, a file is damaged).
    """
    if await asyncio.to_thread(_is_enrolled, config):
        return config
    async with open_setup(config, clock, rng) as setup:
        tell(setup)
        stopped = asyncio.create_task(stop.wait(), name="stopped")
        await asyncio.wait((setup.enrolled, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not setup.enrolled.done():
            return None
        setup.enrolled.result()
    return msgspec.structs.replace(config, lan=msgspec.structs.replace(config.lan, port=setup.port))


@asynccontextmanager
async def open_setup(config: Config, clock: Clock, rng: random.Random) -> AsyncIterator[Setup]:
    """Serve an unclaimed box while inside. Raises ConfigError (another process runs here, the port is taken)."""
    files, lan = files_in(config), config.lan
    async with AsyncExitStack() as stack:
        stack.enter_context(sole_owner(files.lock))
        time = await asyncio.to_thread(TrustedClock, clock, files.time_floor)
        stack.push_async_callback(asyncio.to_thread, time.save, at_stop=True)
        identity = await asyncio.to_thread(Identity, config.state)
        enroller = Enroller(
            identity,
            EnrolmentOffice(time),
            time,
            rng,
            authority=config.claim.authority,
            url=config.cloud.url,
        )
        hello, context = identity.hello("", "", tls=lan.tls != "off"), None
        if lan.tls != "off":
            context = server_context(identity.setup_identity(), clients=None, minimum=lan.tls)
        guard = Guard(config.limits, time)
        app = make_setup_app(hello, enroller, Rates(config.limits, time), guard)
        services = Service("guard", guard.run), Service("liveness", partial(Liveness(notify).turn, time))
        await stack.enter_async_context(supervised(services, time, rng))
        port = await stack.enter_async_context(
            listening(app, lan.hosts, lan.port, context=context, guard=guard)
        )
        if config.mdns.enabled:
            profile = Profile(hello.box, "", hello.fp, port, tls=hello.tls)
            announcer = Announcer(
                profile, time, interfaces=config.mdns.interfaces, reaches=lan.reaches, state="unclaimed"
            )
            await stack.enter_async_context(announcer)
        enrolled = asyncio.create_task(_enrol(enroller, config), name="enrolment")
        stack.push_async_callback(_end, enrolled)
        yield Setup(identity, lan.host, port, hello.tls, enrolled)


async def _enrol(enroller: Enroller, config: Config) -> None:
    for claim_file in filter(None, (_claim_file(config), _claim_credential())):
        try:
            await enroller.take(await asyncio.to_thread(claim_file.read_text))
            break
        except FileNotFoundError:
            log.info("claim.no_file", extra={"file": str(claim_file)})
        except (StoreboxError, OSError, UnicodeDecodeError) as error:
            log.error("claim.unusable", extra={"file": str(claim_file), "why": str(error)})
    await enroller.run()
    await asyncio.to_thread(_forget, _claim_file(config))


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task


def _is_enrolled(config: Config) -> bool:
    with sole_owner(files_in(config).lock):
        identity = Identity(config.state)
        if identity.state() != "enrolled":
            return False
        identity.tidy()
        _forget(_claim_file(config))
        return True


def _claim_file(config: Config) -> Path | None:
    return Path(config.claim.file) if config.claim.file else None


def _claim_credential() -> Path | None:
    """Where systemd puts the credential of a unit that has one (systemd.exec(5)): it came with the machine."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return Path(folder) / "storebox.claim" if folder else None


def _forget(claim_file: Path | None) -> None:
    """A claim is good for once: what is left of it is only in the way."""
    if claim_file is None:
        return
    try:
        claim_file.unlink(missing_ok=True)
    except OSError as error:
        log.warning("claim.not_removed", extra={"file": str(claim_file), "why": str(error)})

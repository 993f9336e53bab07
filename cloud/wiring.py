"""The composition root: every part is built once, here, and closed in reverse order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from appliance.domain.dsse import Signer
from appliance.domain.errors import ConfigError
from appliance.runtime.clock import Clock
from appliance.runtime.files import sole_owner, write_whole
from appliance.runtime.keyfile import load_or_create
from appliance.runtime.serving import listening
from cloud.api import make_app
from cloud.auth import Door, head_office_token, token_digest
from cloud.catalogue import Shelf
from cloud.config import Settings, known_url, url_of
from cloud.database import Database, alone, open_database, settle
from cloud.enrolment import Enrolment
from cloud.fleet import FleetDesk
from cloud.ingest import Ingest
from cloud.migrate import migrate
from cloud.operations import OperationDesk
from cloud.parts import Parts
from cloud.policy import PolicyDesk
from cloud.rescue import RescueDesk
from cloud.selling import SaleDesk


@dataclass(frozen=True, slots=True)
class Office:
    """Head office without its doors: what the command line and the daemon both need."""

    settings: Settings
    database: Database
    signer: Signer
    token: str
    clock: Clock
    policy: PolicyDesk
    enrolment: Enrolment


@asynccontextmanager
async def open_office(settings: Settings, clock: Clock, *, settled: bool = False) -> AsyncIterator[Office]:
    """Open the state directory, beside a running daemon or alone; makes it, its keys and its tables when missing.

    `settled`: all that was ever committed has reached the database file. Raises ConfigError (a damaged key),
    SchemaTooNew, StorageFault.
    """
    signer, token = await asyncio.to_thread(prepare, settings, settled=settled)
    async with open_database(settings.database) as database:
        policy = PolicyDesk(database, signer, clock)
        await policy.begin()
        yield Office(
            settings,
            database,
            signer,
            token,
            clock,
            policy,
            Enrolment(database, signer, policy, clock, partial(known_url, settings)),
        )


@asynccontextmanager
async def open_daemon(settings: Settings, clock: Clock) -> AsyncIterator[int]:
    """Serve head office while inside; yields the port. Raises also ConfigError when another daemon runs here."""
    if settings.tls == "on":
        raise ConfigError('tls = "on" is not built yet: say tls = "off"')
    async with AsyncExitStack() as stack:
        await asyncio.to_thread(settings.state.mkdir, mode=0o700, parents=True, exist_ok=True)
        stack.enter_context(sole_owner(settings.state / "daemon.lock"))
        office = await stack.enter_async_context(open_office(settings, clock, settled=True))
        shelf = Shelf(office.database, settings.transfers)
        await shelf.clear()
        ingest = Ingest(office.database, office.signer, clock)
        parts = Parts(
            database=office.database,
            signer=office.signer,
            clock=clock,
            door=Door(office.database, token_digest(office.token), clock),
            ingest=ingest,
            rescue=RescueDesk(office.database, ingest, clock),
            enrolment=office.enrolment,
            shelf=shelf,
            policy=office.policy,
            selling=SaleDesk(office.database, clock),
            operations=OperationDesk(office.database, office.policy, clock),
            fleet=FleetDesk(office.database, shelf, office.policy, clock, heartbeat_s=settings.heartbeat_s),
        )
        port = await stack.enter_async_context(listening(make_app(parts), settings.host, settings.port))
        await asyncio.to_thread(write_whole, settings.url_file, url_of(settings, port).encode(), mode=0o644)
        yield port


def prepare(settings: Settings, *, settled: bool = False) -> tuple[Signer, str]:
    """Make what is missing in the state directory; the signing key and head office's token. Blocks."""
    settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with alone(settings.database):
        migrate(settings.database)
        if settled:
            settle(settings.database)
        return load_or_create(settings.signing_key), head_office_token(settings.head_office_token)

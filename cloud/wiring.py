"""The composition root: every part is built once, here, and closed in reverse order."""

import asyncio
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address

from appliance.domain.dsse import Signer
from appliance.runtime.clock import Clock
from appliance.runtime.files import sole_owner, write_whole
from appliance.runtime.keyfile import load_or_create
from appliance.runtime.serving import listening
from appliance.runtime.supervision import Service, supervised
from appliance.runtime.tls import JudgedContext, load_identity, server_context
from cloud.api import make_app
from cloud.auth import Door, head_office_token, token_digest
from cloud.authority import LEAF_LIFE, Authority
from cloud.catalogue import Shelf
from cloud.client_cert import ClientCertificates
from cloud.config import Settings, is_address, known_url, url_of
from cloud.database import Database, alone, open_database, settle
from cloud.enrolment import Access, Enrolment
from cloud.fleet import FleetDesk
from cloud.ingest import Ingest
from cloud.limits import Strangers
from cloud.migrate import migrate
from cloud.operations import OperationDesk
from cloud.parts import Parts
from cloud.policy import PolicyDesk
from cloud.renewal import Renewal
from cloud.rescue import RescueDesk
from cloud.selling import SaleDesk
from cloud.updates import UpdateDesk


@dataclass(frozen=True, slots=True)
class Office:
    """Head office without its doors: what the command line and the daemon both need."""

    settings: Settings
    database: Database
    signer: Signer
    token: str
    clock: Clock
    authority: Authority
    policy: PolicyDesk
    enrolment: Enrolment


@asynccontextmanager
async def open_office(settings: Settings, clock: Clock, *, settled: bool = False) -> AsyncIterator[Office]:
    """Open the state directory, beside a running daemon or alone; makes it, its keys and its tables when missing.

    `settled`: all that was ever committed has reached the database file. Raises ConfigError (a damaged key),
    SchemaTooNew, StorageFault.
    """
    signer, token, authority = await asyncio.to_thread(prepare, settings, clock, settled=settled)
    async with open_database(settings.database) as database:
        policy = PolicyDesk(database, signer, clock)
        await policy.begin()
        yield Office(
            settings,
            database,
            signer,
            token,
            clock,
            authority,
            policy,
            Enrolment(database, signer, policy, clock, authority, _access(settings, authority)),
        )


@asynccontextmanager
async def open_daemon(settings: Settings, clock: Clock) -> AsyncIterator[int]:
    """Serve head office while inside; yields the port. Raises also ConfigError when another daemon runs here."""
    async with AsyncExitStack() as stack:
        await asyncio.to_thread(settings.state.mkdir, mode=0o700, parents=True, exist_ok=True)
        stack.enter_context(sole_owner(settings.state / "daemon.lock"))
        office = await stack.enter_async_context(open_office(settings, clock, settled=True))
        shelf = Shelf(office.database, settings.transfers)
        await shelf.clear()
        ingest, updates = Ingest(office.database, office.signer, clock), desk_of(office)
        parts = Parts(
            database=office.database,
            signer=office.signer,
            clock=clock,
            door=Door(
                office.database,
                token_digest(office.token),
                clock,
                office.authority,
                ClientCertificates(settings.proxies),
                box_tokens=settings.box_tokens,
            ),
            strangers=Strangers(settings, clock),
            ingest=ingest,
            rescue=RescueDesk(office.database, ingest, clock),
            authority=office.authority,
            enrolment=office.enrolment,
            renewal=Renewal(office.database, office.signer, clock, office.authority),
            shelf=shelf,
            policy=office.policy,
            selling=SaleDesk(office.database, clock),
            operations=OperationDesk(office.database, office.policy, clock),
            fleet=FleetDesk(
                office.database, shelf, office.policy, updates, clock, heartbeat_s=settings.heartbeat_s
            ),
            updates=updates,
        )
        context = None
        if settings.tls == "on":
            context = await asyncio.to_thread(_context, office.authority, settings)
            renewal = Service("server certificate", partial(_renewed, context, office))
            await stack.enter_async_context(supervised([renewal], clock, random.Random()))
        port = await stack.enter_async_context(
            listening(make_app(parts), settings.host, settings.port, context=context)
        )
        await asyncio.to_thread(write_whole, settings.url_file, url_of(settings, port).encode(), mode=0o644)
        yield port


def desk_of(office: Office) -> UpdateDesk:
    """Where updates are published and offered."""
    return UpdateDesk(office.database, office.signer, office.clock, office.settings.bundles)


def _access(settings: Settings, authority: Authority) -> Access:
    """Boxes see our own root only where no proxy ends TLS."""
    pin = authority.pin if settings.tls == "on" else ""
    return Access(partial(known_url, settings), pin, settings.box_tokens)


def _context(authority: Authority, settings: Settings) -> JudgedContext:
    """TLS 1.3; a client that shows a certificate must show one of ours. What it may do is for the Door to say."""
    identity = authority.server_identity(_names(settings))
    return server_context(identity, clients=authority.root_pem, minimum="1.3")


async def _renewed(context: ssl.SSLContext, office: Office) -> None:
    """Give new connections a fresh server certificate long before the one they see ends, for ever."""
    while True:
        await office.clock.sleep(LEAF_LIFE.total_seconds() / 2)
        await asyncio.to_thread(
            load_identity, context, *office.authority.server_identity(_names(office.settings))
        )


def _names(settings: Settings) -> list[str]:
    """The names and addresses by which head office is reached; "any address" is none."""
    anywhere = is_address(settings.host) and ip_address(settings.host).is_unspecified
    return [*settings.names, *([] if anywhere else [settings.host])]


def prepare(settings: Settings, clock: Clock, *, settled: bool = False) -> tuple[Signer, str, Authority]:
    """Make what is missing in the state directory; the signing key, head office's token, the authority. Blocks."""
    settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with alone(settings.database):
        migrate(settings.database)
        if settled:
            settle(settings.database)
        signer, token = load_or_create(settings.signing_key), head_office_token(settings.head_office_token)
        return signer, token, Authority.open(settings.state, clock)

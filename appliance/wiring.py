"""The composition root: every part of the box is built here, once, by plain constructors.

The exit stack is the shutdown plan, read backwards: first nobody finds the box any more, then no request enters, then
the loops stop, then the journal takes its last event and the disks are closed.
"""

import asyncio
import logging
import random
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from appliance import __version__
from appliance.config import Config
from appliance.domain.errors import CannotAccept
from appliance.gateways.board import Board as MachineBoard
from appliance.gateways.cloud import CloudGateway, open_cloud
from appliance.gateways.est import office_context
from appliance.gateways.host import MachineHost
from appliance.gateways.identity import Enrolment, Identity
from appliance.gateways.tills import TillBook
from appliance.lan import LanParts, open_lan
from appliance.places import Files as Files
from appliance.places import files_in as files_in
from appliance.runtime.ballast import Ballast
from appliance.runtime.clock import Clock
from appliance.runtime.database import read_only_uri
from appliance.runtime.files import sole_owner, write_whole
from appliance.runtime.notify import is_watched, notify, still_starting
from appliance.runtime.supervision import Service, supervised
from appliance.runtime.tls import JudgedContext, load_identity
from appliance.runtime.trusted_time import TrustedClock
from appliance.services.aftermath import Aftermath
from appliance.services.clockwatch import ClockWatch
from appliance.services.damage import end_when_damaged
from appliance.services.disk import DiskWatch, Floors, make_room_to_start
from appliance.services.drain import Drain
from appliance.services.feed import Feed
from appliance.services.gate import Gate
from appliance.services.heartbeat import Heartbeater
from appliance.services.liveness import Liveness
from appliance.services.machine import MachineWatch
from appliance.services.mirror import MirrorKeeper
from appliance.services.modes import ModeTeller
from appliance.services.operations import Operations
from appliance.services.ports import Board, Cloud, Host
from appliance.services.presence import CONSOLE, Presence
from appliance.services.renewal import Renewal
from appliance.services.report import Report
from appliance.services.retention import Retention
from appliance.services.rhythm import Rhythm, done_for_tills
from appliance.services.rotation import follow_key, last_rotation
from appliance.services.selling import Selling
from appliance.services.trial import Trial
from appliance.services.wan import WanWatch
from appliance.services.witness import Witness
from appliance.storage.commit import Sealer
from appliance.storage.headfile import HeadFile
from appliance.storage.journal import Journal
from appliance.storage.mirror import open_mirror
from appliance.storage.outgoing import Outgoing, open_outgoing
from appliance.storage.policies import Policies
from appliance.storage.set_aside import open_or_set_aside
from appliance.updating import machine, make_updates

log = logging.getLogger(__name__)

MIB = 1024 * 1024


@dataclass(frozen=True)
class Outside:
    """What the inside of the box stands on. A campaign brings a world, and mistakes, of its own."""

    open_cloud: Callable[..., AbstractAsyncContextManager[Cloud]] = open_cloud
    open_outgoing: Callable[[str], AbstractAsyncContextManager[Outgoing]] = open_outgoing
    host: Callable[[Path], Host] = MachineHost
    board: Callable[[Path], Board] = MachineBoard
    ballast: Callable[[Path, int], Ballast] = Ballast
    drain: type[Drain] = Drain


@asynccontextmanager
async def open_box(config: Config, clock: Clock, rng: random.Random) -> AsyncIterator[str]:
    """Open the whole box; tills can sell once this yields the URL it listens at.

    Raises ConfigError (not enrolled, another process runs here), StorageFault, ChainFault, OSError (address taken).
    """
    time = await asyncio.to_thread(TrustedClock, clock, files_in(config).time_floor)
    async with AsyncExitStack() as stack:
        parts = await stack.enter_async_context(open_inside(config, time, rng, Outside()))
        stack.push_async_callback(asyncio.to_thread, time.save, at_stop=True)
        await stack.enter_async_context(supervised((Service("time", time.run),), time, rng))
        yield await stack.enter_async_context(open_lan(parts))


@asynccontextmanager
async def open_inside(
    config: Config, clock: TrustedClock, rng: random.Random, outside: Outside
) -> AsyncIterator[LanParts]:
    """Open all that is behind the box's doors: stores, services and their loops. Raises as `open_box`."""
    files = files_in(config)
    async with AsyncExitStack() as stack:
        stack.enter_context(sole_owner(files.lock))
        floors = Floors(config.disk.download_floor_mib * MIB, config.disk.floor_mib * MIB)
        ballast = outside.ballast(files.ballast, config.disk.ballast_mib * MIB)
        await asyncio.to_thread(make_room_to_start, ballast, floors)
        identity, enrolment, tills = await asyncio.to_thread(_read_state, config.state, files)
        head_file = HeadFile(files.head, identity.keychain.keys)
        sealer = Sealer(
            identity.box, identity.signer, clock, identity.keychain.keys, tuple(identity.rotations)
        )
        journal = await stack.enter_async_context(
            open_or_set_aside(files.journal, sealer, head_file, gets_on=still_starting)
        )
        await follow_key(journal, head_file, identity.keychain)
        outgoing = await stack.enter_async_context(outside.open_outgoing(read_only_uri(files.journal)))
        mirror = await stack.enter_async_context(open_mirror(files.mirror))
        witness = Witness(journal, head_file)
        await witness.look()
        disk = DiskWatch(journal, files.journal, ballast, floors, clock, Liveness(notify).looked)
        await disk.look()
        feed, wan = Feed(), WanWatch(clock, rng)
        url = config.cloud.url or enrolment.cloud_url
        context = await asyncio.to_thread(office_context, url, enrolment, identity, clock)
        cloud = await stack.enter_async_context(
            outside.open_cloud(
                url,
                context=context,
                token=enrolment.answer.box_token,
                box=identity.box,
                keys=enrolment.keys(),
                clock=clock,
                observe=wan.observe,
            )
        )
        gate = Gate(Policies(mirror.writer), enrolment.keys(), wan)
        await gate.load(bytes(enrolment.answer.policy))

        operations = Operations(gate, cloud, journal)
        selling = Selling(journal, gate, operations, identity.box, mirror.prices, disk.admit)
        rhythm = Rhythm(partial(done_for_tills, selling, operations), clock, config.rhythm.idle_after_s)
        keeper = MirrorKeeper(
            mirror,
            cloud,
            feed,
            journal,
            clock,
            rng,
            files.incoming,
            lambda: rhythm.choose(config.mirror.poll_s, config.mirror.idle_poll_s),
            disk.admit_download,
        )
        drain = outside.drain(
            journal,
            outgoing,
            cloud,
            wan,
            feed,
            enrolment.keys(),
            clock,
            rng,
            batch_events=config.drain.batch_events,
            retry_cap_s=config.drain.retry_cap_s,
            rolled_back=witness.rolled_back,
        )
        witness.listen(drain.halt)
        retention = Retention(journal, clock, config.journal.keep_days)
        # A campaign's head office certifies nothing, and offers nothing.
        office = cloud if isinstance(cloud, CloudGateway) else None
        here = await asyncio.to_thread(machine, config)
        updates = (
            make_updates(config, here, office, enrolment.keys(), journal, clock, rng, rhythm, disk)
            if here is not None and office is not None
            else None
        )
        board = await asyncio.to_thread(outside.board, config.state)
        wear = MachineWatch(board, clock, config.disk.written_mib_per_day_max * MIB, serving=is_watched())
        report = Report(
            box=identity.box,
            shop=enrolment.answer.shop,
            software=__version__,
            started_s=clock.monotonic(),
            clock=clock,
            journal=journal,
            selling=selling,
            operations=operations,
            drain=drain,
            wan=wan,
            gate=gate,
            mirror=mirror,
            keeper=keeper,
            presence=Presence(tills, clock, bound=config.lan.tls != "off"),
            witness=witness,
            disk=disk,
            retention=retention,
            updates=updates,
            machine=wear,
        )
        heartbeater = Heartbeater(
            cloud,
            identity.signer,
            wan,
            gate,
            outside.host(config.state),
            report.status,
            clock,
            rng,
            nudge_catalogue=keeper.nudge,
            nudge_update=(lambda _number: None) if updates is None else updates.nudge,
            rest_s=lambda: rhythm.choose(config.heartbeat.every_s, config.heartbeat.idle_every_s),
        )
        aftermath = Aftermath(files.forced_reboots, journal, clock)
        report.more_issues.append(aftermath.issues)
        await journal.record("started", {"software": __version__, "sqlite": sqlite3.sqlite_version})
        stack.push_async_callback(_record_stop, journal, witness)
        services = (
            Service("wan", partial(wan.run, cloud.probe)),
            Service("modes", ModeTeller(wan, feed, journal).run),
            Service("drain", drain.run),
            Service("witness", witness.run),
            Service("disk", disk.run),
            Service("aftermath", aftermath.run),
            Service("machine", wear.run),
            Service("clock", ClockWatch(clock, journal).run),
            Service("damage", partial(end_when_damaged, journal, files.journal)),
            Service("retention", retention.run),
            Service("mirror", keeper.run),
            Service("heartbeat", heartbeater.run),
            *([] if updates is None else [Service("updates", updates.run)]),
            *([] if office is None else [_renewing(office, context, identity, wan, journal, clock, rng)]),
        )
        await stack.enter_async_context(supervised(services, clock, rng))
        yield LanParts(
            config,
            clock,
            identity,
            enrolment,
            tills,
            journal,
            identity.hello(enrolment.answer.shop, enrolment.answer.shop_name, tls=config.lan.tls != "off"),
            feed,
            report,
            heartbeater,
            rng,
            Trial(files.trial, gate, cloud, clock),
            office,
        )


def _read_state(state: Path, files: Files) -> tuple[Identity, Enrolment, TillBook]:
    identity, tills = Identity(state), TillBook(files.tills)
    if identity.keyring.settle(last_rotation(files.journal)):
        log.info("key.rotated", extra={"fp": identity.signer.key_id})
    enrolment = identity.enrolment()
    write_whole(files.console_token, tills.pair(CONSOLE).encode())
    return identity, enrolment, tills


def _renewing(
    office: CloudGateway,
    context: JudgedContext | None,
    identity: Identity,
    wan: WanWatch,
    journal: Journal,
    time: TrustedClock,
    rng: random.Random,
) -> Service:
    def wear() -> None:
        if context is not None:
            load_identity(context, *identity.client_identity())

    renewal = Renewal(identity, wear, office, wan, journal, time, rng)
    office.listen(renewal.nudge)
    return Service("renewal", renewal.run)


async def _record_stop(journal: Journal, witness: Witness) -> None:
    try:
        await journal.record("stopped", {})
        await witness.keep()
    except CannotAccept as error:
        log.error("box.stop_unrecorded", extra={"why": str(error)})

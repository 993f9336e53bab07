"""The box on its shop's LAN: the API, how it is served and proven, how tills come in, and how it is found."""

import asyncio
import ipaddress
import random
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import msgspec

from appliance.api.app import Doors, make_app
from appliance.api.sales import short_way
from appliance.config import Config
from appliance.domain.wire import Hello
from appliance.gateways.identity import Enrolment, Identity
from appliance.gateways.mdns import Announcer, Profile, look_around
from appliance.gateways.tills import TillBook
from appliance.runtime.guard import Guard
from appliance.runtime.serving import listening
from appliance.runtime.supervision import Service, supervised
from appliance.runtime.tls import load_identity, server_context
from appliance.runtime.trusted_time import TrustedClock
from appliance.services.feed import Feed
from appliance.services.heartbeat import Heartbeater, LanView
from appliance.services.lan_keys import LanCertificate, TillAuthority
from appliance.services.multicast import MulticastWatch
from appliance.services.pairing import Grounds, Pairing, host_and_port
from appliance.services.ports import IdentityCloud, Recorder
from appliance.services.rates import Rates
from appliance.services.report import Report
from appliance.services.tills import TillDesk, TillReporter
from appliance.services.trial import Trial


@dataclass(frozen=True)
class LanParts:
    """What stands behind the doors. `office`: where the tills are told for a successor; None: nowhere."""

    config: Config
    clock: TrustedClock
    identity: Identity
    enrolment: Enrolment
    tills: TillBook
    journal: Recorder
    hello: Hello
    feed: Feed
    report: Report
    heartbeater: Heartbeater
    rng: random.Random
    trial: Trial
    office: IdentityCloud | None = None


@dataclass
class _Place:
    """Where tills reach the box; the port is known only once it is bound."""

    config: Config
    port: int

    def addresses(self) -> Sequence[str]:
        """Right now. Those that need a scope, which only this machine knows, are told to nobody."""
        lan = self.config.lan
        if not ipaddress.ip_address(lan.host).is_unspecified:
            return [lan.host]
        seen = look_around(self.config.mdns.interfaces, lan.reaches).addresses
        found = map(ipaddress.ip_address, seen)
        return [str(address) for address in found if not (address.version == 6 and address.is_link_local)]


@asynccontextmanager
async def open_lan(parts: LanParts) -> AsyncIterator[str]:
    """Serve tills while inside; yields the URL. Raises ConfigError when it cannot be done as configured."""
    config, clock, wan, journal = parts.config, parts.clock, parts.report.wan, parts.journal
    place = _Place(config, config.lan.port)
    await parts.tills.inherit(parts.enrolment.answer.tills)
    desk = TillDesk(parts.tills, parts.report.presence, journal)
    guard, multicast = Guard(config.limits, clock), MulticastWatch(clock)
    parts.report.more_issues.append(multicast.issues)
    services = [Service("guard", guard.run)]
    hello = msgspec.structs.replace(parts.hello, succession=parts.enrolment.answer.succession)
    context, authority = None, None
    certificate = LanCertificate(parts.identity, hello.box, place.addresses, journal, clock)
    if config.lan.tls != "off":
        parts.identity.listen(certificate.nudge)
        authority, context = await asyncio.to_thread(_prove, parts, certificate)
        await certificate.note()
        services.append(Service("lan-certificate", partial(certificate.run, partial(load_identity, context))))
        if parts.office is not None:
            services.append(Service("tills", TillReporter(parts.office, desk, wan, clock).run))
    pairing = Pairing(
        hello,
        authority,
        parts.tills,
        journal,
        clock,
        Grounds(
            parts.enrolment.answer.authority,
            config.cloud.url or parts.enrolment.cloud_url,
            parts.enrolment.answer.cloud_keys,
            place.addresses,
            lambda: place.port,
        ),
        desk.changed.set,
    )
    services.append(Service("pairing", pairing.run))
    rates = Rates(config.limits, clock)
    doors = Doors(parts.feed, pairing, desk, multicast, rates, guard, parts.trial, context is not None)
    app = make_app(doors, parts.report)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(supervised(services, clock, parts.rng))
        place.port = await stack.enter_async_context(
            listening(app, config.lan.hosts, config.lan.port, short_way(app), context=context, guard=guard)
        )
        parts.heartbeater.attach(
            lambda: LanView(
                place.addresses(), place.port, desk.count(), multicast.view(), certificate.left_s(clock.now())
            ),
            pairing.ordered,
        )
        if config.mdns.enabled:
            profile = Profile(hello.box, hello.shop, hello.fp, place.port, tls=context is not None)
            announcer = Announcer(
                profile,
                clock,
                interfaces=config.mdns.interfaces,
                reaches=config.lan.reaches,
                state=wan.link.state.value,
                moved=lambda _addresses: certificate.nudge(),
            )
            parts.report.more_issues.append(lambda: ["mdns-name-conflict"] if announcer.conflict else [])
            await stack.enter_async_context(announcer)
            wan.listen(lambda link: announcer.set_state(link.state.value))
        scheme = "http" if context is None else "https"
        yield f"{scheme}://{host_and_port(config.lan.host, place.port)}"


def _prove(parts: LanParts, certificate: LanCertificate) -> tuple[TillAuthority, ssl.SSLContext]:
    """How tills prove themselves to the box, and the box to them. Reads files."""
    minimum = parts.config.lan.tls
    assert minimum != "off"
    authority = TillAuthority(parts.identity)
    return authority, server_context(certificate.identity(), clients=authority.pem, minimum=minimum)

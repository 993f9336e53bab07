"""The box on its shop's LAN: the API, how it is served, and how it is found."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from appliance.api.app import make_app
from appliance.api.sales import short_way
from appliance.config import Config
from appliance.domain.errors import ConfigError
from appliance.domain.wire import Hello
from appliance.gateways.identity import Enrolment, Identity
from appliance.gateways.mdns import Announcer, Profile
from appliance.gateways.tills import TillBook
from appliance.runtime.clock import Clock
from appliance.runtime.serving import listening
from appliance.services.feed import Feed
from appliance.services.heartbeat import Heartbeater, LanView
from appliance.services.ports import Recorder
from appliance.services.report import Report


@dataclass(frozen=True)
class LanParts:
    """What stands behind the doors."""

    config: Config
    clock: Clock
    identity: Identity
    enrolment: Enrolment
    tills: TillBook
    journal: Recorder
    hello: Hello
    feed: Feed
    report: Report
    heartbeater: Heartbeater


@asynccontextmanager
async def open_lan(parts: LanParts) -> AsyncIterator[str]:
    """Serve tills while inside; yields the URL. Raises ConfigError when it cannot be done as configured."""
    config, hello, wan = parts.config, parts.hello, parts.report.wan
    if config.lan.tls != "off":
        raise ConfigError(f'lan.tls = "{config.lan.tls}" is not built yet: say tls = "off"')
    app = make_app(hello, parts.feed, parts.report)
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(
            listening(app, config.lan.host, config.lan.port, short_way(app))
        )
        parts.heartbeater.attach(lambda: LanView(port=port), lambda _order: None)
        if config.mdns.enabled:
            profile = Profile(hello.box, hello.shop, hello.fp, port)
            announcer = Announcer(
                profile, parts.clock, interfaces=config.mdns.interfaces, state=wan.link.state.value
            )
            await stack.enter_async_context(announcer)
            wan.listen(lambda link: announcer.set_state(link.state.value))
        yield f"http://{config.lan.host}:{port}"

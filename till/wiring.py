"""Put a till together: plain constructors; leaving the block takes everything down again."""

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.domain.errors import ConfigError
from appliance.runtime.clock import Clock
from appliance.runtime.files import sole_owner
from appliance.runtime.supervision import Service
from till.box import Box
from till.catalogue import open_catalogue
from till.cloud import Cloud
from till.copy import Copies, open_copies
from till.delivery import Delivery
from till.lookout import Lookout
from till.news import News
from till.observing import Observing
from till.operations import Operations
from till.options import Options
from till.peer import open_session
from till.pricing import Pricing
from till.refresh import Refresh
from till.report import Tell
from till.selling import Selling
from till.settling import Settling
from till.tickets import uuid7
from till.ways import Ways
from till.whereabouts import open_whereabouts

COPIES_FILE, CATALOGUE_FILE, LOCK_FILE = "copies.db", "catalogue.db", "lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTill:
    """The parts that a command works with. `services` must run for the box to be found and copies to settle."""

    copies: Copies
    ways: Ways
    selling: Selling
    operations: Operations
    settling: Settling
    lookout: Lookout
    services: list[Service]


@contextmanager
def ours(state: Path) -> Iterator[None]:
    """Have the state directory for ourselves; it is made when absent. Raises ConfigError when it cannot be had.

    Not on the event loop: it touches the disk.
    """
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{state}: {error.strerror}") from error
    with sole_owner(state / LOCK_FILE):
        yield


@asynccontextmanager
async def open_till(
    options: Options, tell: Tell, clock: Clock, rng: random.Random
) -> AsyncIterator[OpenTill]:
    """A till on a state directory that is `ours`. Raises ConfigError when it belongs to another till."""
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(open_whereabouts(options, tell, clock))
        copies = await stack.enter_async_context(open_copies(options.state / COPIES_FILE, options.till_id))
        catalogue = await stack.enter_async_context(open_catalogue(options.state / CATALOGUE_FILE))
        cloud = None
        if options.cloud_url is not None:
            cloud_session = await stack.enter_async_context(open_session(options.cloud_token))
            cloud = Cloud(
                cloud_session,
                options.cloud_url,
                total_s=options.cloud_timeout_s,
                context=here.cloud_context,
            )

        def box() -> Box | None:
            return lookout.box

        def new_id() -> str:
            return uuid7(int(clock.wall().timestamp() * 1000), rng)

        def in_hand() -> str | None:
            return selling.in_hand

        def box_silent() -> None:
            lookout.suspect()

        ways = Ways(box, two_ways=cloud is not None, tell=tell, clock=clock)
        delivery = Delivery(copies, box, cloud, box_silent)
        settling = Settling(copies, delivery, ways, in_hand, tell, options.lang, clock, rng)
        refresh = Refresh(catalogue, box, tell, clock, rng)
        selling = Selling(
            options.till_id,
            copies,
            Pricing(catalogue, box),
            delivery,
            ways,
            new_id,
            settling.sold,
            tell,
            options.lang,
            clock,
        )
        operations = Operations(ways, box, cloud, new_id, tell, options.lang, clock)
        observing = None
        if here.ladder is not None:
            ladder = here.ladder
            observing = Observing(here.keys, lambda: ladder.found_by, box, options.interfaces, clock)
        news = News(ways, settling, refresh, met=lambda: None if observing is None else observing.met())
        lookout = Lookout(here.places, here.prove, news, tell, clock, rng)
        services = [
            Service("lookout", lookout.run),
            Service("settling", settling.run),
            Service("refresh", refresh.run),
            *([] if observing is None else [Service("observing", observing.run)]),
        ]
        yield OpenTill(
            copies=copies,
            ways=ways,
            selling=selling,
            operations=operations,
            settling=settling,
            lookout=lookout,
            services=services,
        )

"""One start of the desk from beginning to end: open it, show it, let people act on it, settle, judge."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aiohttp import ClientSession
from rich.console import Console
from rich.live import Live

from appliance.domain.catalogue import Article
from appliance.domain.errors import ConfigError
from appliance.runtime.clock import Clock
from demo import trading
from demo.books import Door, Reader, open_session
from demo.desk import Desk, open_desk
from demo.hearing import Hearing
from demo.keys import pressed_keys
from demo.outages import Outage
from demo.places import TILLS, TWO_WAY_TILL, Places
from demo.processes import command
from demo.run import Controls, Plan, kill_times, running, sell, settle, tally
from demo.screen import Screen
from demo.shoppers import OPERATION_EVERY_S, customers, operations, together
from demo.tally import Tally
from demo.watch import Watch
from demo.weather import forecast, gust
from till.script import Step

# Without an end of its own, or somebody to end it.
FOR_S_DEFAULT = 60.0
# A replayed day ends a little before the run does, so that its last tickets are rung up within it.
DAY_SHARE = 0.98
PROGRESS_EVERY_S = 5.0
FRAME_EVERY_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line asked for. `live`: somebody watches in a terminal, and has keys."""

    state: Path
    articles: Path | None
    sales: Path | None
    for_s: float | None
    speed: float | None
    outages: list[Outage]
    kills: int
    weather: int | None
    tls: bool
    live: bool


class Ending:
    """How a person ends the run: the first time stops it, the second leaves without waiting for the rest."""

    def __init__(self, main: asyncio.Task[Tally | None]) -> None:
        self._main = main
        self.selling = False
        self.stop = asyncio.Event()
        self.leave = asyncio.Event()

    def ask(self) -> None:
        """Somebody wants it to end."""
        if not self.selling:
            self._main.cancel()  # nothing has been sold yet, so nothing needs to settle
        elif self.stop.is_set():
            self.leave.set()
        self.stop.set()


async def run_session(
    options: Options, rngs: Mapping[str, random.Random], clock: Clock, console: Console
) -> Tally | None:
    """Run the desk once; None when somebody left before the tally.

    `rngs` has one for each till, and one for `kills`, `line`, `gusts` and `weather`.
    Raises ConfigError, ChildFailed, Unread.
    """
    day = await asyncio.to_thread(_read_day, options.sales)
    for_s = _length_s(options, day)
    main = asyncio.current_task()
    assert main is not None
    ending = Ending(main)
    with _signals_to(ending):
        console.print(f"starting head office, line and box; everything is kept under {options.state}")
        async with (
            open_desk(options.state, options.articles, clock, rngs["line"], tls=options.tls) as desk,
            open_session() as http,
        ):
            office = Reader(http, desk.office(desk.memory.head_office_token))
            known = await asyncio.to_thread(desk.box)
            watch = Watch(lambda: Reader(http, known._replace(url=desk.box_url)), office, clock)
            places = Places(options.state)
            hearing = Hearing(TILLS, places.logs, clock)
            controls = Controls(desk, hearing, clock)
            screen = Screen(desk, hearing, watch, controls, for_s)
            plan = Plan(
                for_s,
                options.outages,
                kill_times(options.kills, for_s or 0.0, rngs["kills"]),
                () if options.weather is None else forecast(rngs["weather"], for_s),
            )
            scripts = _scripts(options, day, for_s, await _articles(desk, http, day), rngs)
            _say_where(desk, known, places, console)
            async with (
                _shown(screen, controls, ending, options, rngs["gusts"], clock, console),
                running(watch.run()),
            ):
                ending.selling = True
                await sell(desk, hearing, controls, plan, scripts, ending.stop, clock)
                sold_until_s = hearing.now_s
                settled = await settle(desk, hearing, controls, watch, ending.leave, clock)
            if ending.leave.is_set() and not settled:
                return None
            return await tally(places, office, hearing, controls, sold_until_s)


def _read_day(sales: Path | None) -> trading.Day | None:
    if sales is None:
        return None
    try:
        day = trading.day_of(trading.read_rows(sales))
    except OSError as error:
        raise ConfigError(f"{sales}: {error.strerror or error}") from error
    if not day.tickets:
        raise ConfigError(f"{sales}: no tickets in it; a trading day is a CSV with InvoiceNo, StockCode, ...")
    return day


def _length_s(options: Options, day: trading.Day | None) -> float | None:
    """How long to sell; None: until somebody ends it."""
    if options.for_s is not None:
        return options.for_s
    if day is not None and options.speed is not None:
        return day.tickets[-1].at_s / options.speed / DAY_SHARE
    endless = options.live and day is None and not options.kills and not options.outages
    return None if endless else FOR_S_DEFAULT


async def _articles(desk: Desk, http: ClientSession, day: trading.Day | None) -> list[Article]:
    """What customers can buy; a replayed day brings its own articles and prices."""
    if day is not None:
        return []
    return await Reader(http, desk.office(desk.memory.cloud_tokens[TWO_WAY_TILL])).articles()


def _scripts(
    options: Options,
    day: trading.Day | None,
    for_s: float | None,
    articles: list[Article],
    rngs: Mapping[str, random.Random],
) -> dict[str, Iterable[Step]]:
    if day is None:
        return {till: together(customers(articles, rngs[till]), operations(rngs[till])) for till in TILLS}
    if options.speed is not None:
        tickets = trading.faster(day.tickets, options.speed)
    else:
        tickets = trading.fit(day.tickets, DAY_SHARE * (for_s or FOR_S_DEFAULT))
    sales = trading.spread(tickets, len(TILLS))
    return {
        till: trading.sprinkle(
            script, every_s=OPERATION_EVERY_S, first_s=(number + 1) * OPERATION_EVERY_S / 2
        )
        for number, (till, script) in enumerate(zip(TILLS, sales, strict=True))
    }


def _say_where(desk: Desk, door: Door, places: Places, console: Console) -> None:
    say = partial(console.print, soft_wrap=True, markup=False, highlight=False)
    say(f"fleet page  {desk.cloud_url}/   any user name, password {desk.memory.head_office_token}")
    say(f"box's API   {desk.box_url}   for example:")
    if door.context is None:
        say(f"  curl -H 'Authorization: Bearer {door.token}' {door.url}/v1/status")
    else:
        say(f"  {command('storebox')} status --config {places.box_config}")
    say(f"logs        {places.logs}")


@contextmanager
def _signals_to(ending: Ending) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ending.ask)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


@asynccontextmanager
async def _shown(
    screen: Screen,
    controls: Controls,
    ending: Ending,
    options: Options,
    rng: random.Random,
    clock: Clock,
    console: Console,
) -> AsyncIterator[None]:
    """Show what happens: live with keys, or as lines."""
    if not options.live:
        async with running(_tell(screen, clock, console)):
            yield
        return
    with pressed_keys() as keys, Live(screen, console=console, screen=True, auto_refresh=False) as live:
        async with running(_draw(live, clock), _act(keys, controls, ending, rng)):
            yield


async def _tell(screen: Screen, clock: Clock, console: Console) -> None:
    while True:
        await clock.sleep(PROGRESS_EVERY_S)
        console.print(screen.progress(), soft_wrap=True, markup=False, highlight=False)


async def _draw(live: Live, clock: Clock) -> None:
    while True:
        live.refresh()
        await clock.sleep(FRAME_EVERY_S)


async def _act(keys: asyncio.Queue[str], controls: Controls, ending: Ending, rng: random.Random) -> None:
    while True:
        match await keys.get():
            case "c":
                controls.cut()
            case "m":
                await controls.mend()
            case "s":
                controls.slow()
            case "g":
                controls.begin_gust(gust(rng))
            case "k":
                controls.begin_kill()
            case "q":
                ending.ask()
            case _:
                pass

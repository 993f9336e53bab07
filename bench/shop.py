"""A shop to measure: a head office, and a box that is enrolled, paired and has mirrored the catalogue.

Everything is made by the commands a technician uses, once per run; each figure then gets a box of its own, copied from
it, on the disk that `--dir` names. mDNS speaks to loopback only, so nobody outside hears of it.
"""

import asyncio
import http.client
import itertools
import random
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from appliance.config import Config, load_config
from appliance.domain.canonical import canonical
from appliance.domain.catalogue import Article
from appliance.domain.sale import Sale
from appliance.domain.wire import Status
from appliance.gateways.identity import Identity
from appliance.gateways.tills import TillBook
from appliance.runtime.clock import SystemClock
from appliance.storage.commit import Draft, Sealer
from appliance.storage.journal import GROUP_EVENTS_MAX, open_journal
from appliance.wiring import files_in
from bench.load import Till
from bench.processes import Failed, Server, call, peak_mb, program, serving
from bench.sales import make_sales
from cloud.articles import make_articles, read_articles

TILLS = 64
SEED = 1
# What a daemon finds in its journal when it starts.
SALES_OF_A_DAY = 1_000
# Nothing answers here: the line is absent, at once and without a packet.
NO_CLOUD = "http://127.0.0.1:1"
MIRRORED_S = 120.0
LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Box:
    """A box's folder: its configuration and its state."""

    folder: Path

    @property
    def config_file(self) -> Path:
        """What `storebox --config` takes."""
        return self.folder / "storebox.toml"

    @property
    def config(self) -> Config:
        """The same, read."""
        return load_config(self.config_file)

    def configure(self, cloud: str) -> None:
        """Write the configuration: any free port, loopback, and this cloud."""
        self.config_file.write_text(
            f'state = "{self.folder / "state"}"\n[lan]\nhost = "127.0.0.1"\nport = 0\ntls = "off"\n'
            f'[mdns]\ninterfaces = ["127.0.0.1"]\n[disk]\nballast_mib = 1\n[cloud]\nurl = "{cloud}"\n'
            # One till presses as no shop does: what it may take is not what is measured.
            "[limits]\nper_till_per_s = 65536\nper_till_burst = 65536\n"
        )

    @property
    def command(self) -> list[str]:
        """What starts the daemon."""
        return [program("storebox"), "run", "--config", str(self.config_file)]

    @contextmanager
    def running(self, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
        """The daemon, running while inside."""
        with serving(self.command, self.folder / "log", environment) as server:
            yield server

    def fill(self, sales: Iterator[Sale], count: int) -> None:
        """Put sales into the journal as the daemon would, with nobody to send them to."""
        self.append(draft_of(sale) for sale in itertools.islice(sales, count))

    def append(self, drafts: Iterable[Draft]) -> None:
        """Put drafts into the journal, in groups as large as it commits."""
        asyncio.run(_append(self.config, iter(drafts)))


class Shop:
    """What the figures are measured on. Use `open_shop`."""

    def __init__(self, folder: Path, articles: list[Article], tills: list[Till]) -> None:
        self._folder = folder
        self._copies = itertools.count(1)
        self.articles = articles
        self.tills = tills
        self.first = Box(folder / "box")
        self.mirroring_peak_mb = 0.0

    @contextmanager
    def cloud(self) -> Iterator[Server]:
        """A head office, running while inside, that has heard nothing of the box but its enrolment.

        Each box needs one of its own: to one head office, two copies of a box are a clone.
        """
        state = self._folder / f"cloud-{next(self._copies)}"
        shutil.copytree(self._folder / "cloud", state)
        try:
            with _head_office(state) as server:
                yield server
        finally:
            shutil.rmtree(state)

    @contextmanager
    def box(self, cloud: str = NO_CLOUD) -> Iterator[Box]:
        """A copy of the box that nothing has been done to yet; gone when the block is left."""
        box = Box(self._folder / f"box-{next(self._copies)}")
        shutil.copytree(self.first.folder, box.folder)
        box.configure(cloud)
        try:
            yield box
        finally:
            shutil.rmtree(box.folder)

    def sales(self, seed: int) -> Iterator[Sale]:
        """Sales of the first till."""
        return make_sales(self.articles, self.tills[0].name, random.Random(seed))


def read_or_make(file: Path | None, count: int) -> list[Article]:
    """The articles of a file, or as many that are made up: always the same."""
    if file is None:
        return list(make_articles(count, SEED, random.Random(SEED)))
    return list(itertools.islice(read_articles(file, SEED), count))


@contextmanager
def open_shop(folder: Path, articles: list[Article]) -> Iterator[Shop]:
    """Set a shop up in an empty folder; its box has mirrored the catalogue and has a day of sales behind it."""
    catalogue = folder / "catalogue.ndjson"
    catalogue.write_bytes(b"".join(canonical(article) + b"\n" for article in articles))
    state = ["--state", str(folder / "cloud")]
    call([program("storebox-cloud"), "catalogue", "import", *state, str(catalogue)])
    box = Box(folder / "box")
    box.folder.mkdir()
    shop = Shop(folder, articles, [])
    with _head_office(folder / "cloud") as cloud:
        box.configure(cloud.url)
        claim = call([program("storebox-cloud"), "claim", *state, "--shop", "S001"]).decode().strip()
        call([program("storebox"), "enrol", "--config", str(box.config_file), "--claim", claim])
        shop.tills.extend(_pair(box.config))
        with box.running() as server:
            _wait_until_mirrored(server, shop.tills[0], len(articles))
            shop.mirroring_peak_mb = peak_mb(server.pid)
    box.fill(shop.sales(SEED), SALES_OF_A_DAY)
    yield shop


@contextmanager
def _head_office(state: Path) -> Iterator[Server]:
    command = [program("storebox-cloud"), "run", "--state", str(state), "--port", "0", "--tls", "off"]
    with serving(command, state.with_suffix(".log")) as server:
        yield server


def status(server: Server, till: Till) -> Status:
    """What the box says of itself."""
    return msgspec.json.decode(get(server, till, "/v1/status"), type=Status)


def get(server: Server, till: Till, path: str) -> bytes:
    """The body of an answer, over a connection of its own. Raises Failed unless it is 200."""
    connection = http.client.HTTPConnection(*server.address, timeout=10)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {till.token}"})
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise Failed(f"GET {path} was answered {answer.status}: {body[:500]!r}")
    return body


def until(condition: Callable[[], bool], what: str, patience_s: float) -> None:
    """Wait until it is so. Raises Failed when it does not come about."""
    end_s = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > end_s:
            raise Failed(f"not within {patience_s:g} s: {what}")
        time.sleep(LOOK_S)


def _pair(config: Config) -> list[Till]:
    # What `storebox pair` does, without starting a program 64 times.
    book = TillBook(files_in(config).tills)
    return [Till(name, book.pair(name)) for name in (f"till-{number + 1}" for number in range(TILLS))]


def _wait_until_mirrored(server: Server, till: Till, articles: int) -> None:
    until(lambda: status(server, till).articles >= articles, f"{articles} articles mirrored", MIRRORED_S)


async def _append(config: Config, drafts: Iterator[Draft]) -> None:
    identity = Identity(config.state)
    sealer = Sealer(identity.box, identity.signer, SystemClock())
    async with open_journal(files_in(config).journal, sealer) as journal:
        while group := list(itertools.islice(drafts, GROUP_EVENTS_MAX)):
            await asyncio.gather(*(journal.append(draft) for draft in group))


def draft_of(sale: Sale) -> Draft:
    """A sale as selling hands it to the journal."""
    body = sale.encode()
    return Draft("sale", b'{"flags":[],"sale":%b}' % body, sale.till_id, sale.key, body)

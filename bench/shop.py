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
from collections.abc import Iterator
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
from appliance.storage.journal import open_journal
from appliance.wiring import files_in
from bench.load import Till
from bench.processes import Failed, Server, call, peak_mb, program, serving
from bench.sales import make_sales
from cloud.articles import make_articles, read_articles

TILLS = 64
SEED = 1
# What a daemon finds in its journal when it starts.
SALES_OF_A_DAY = 1_000
# The groups in which a backlog is written: what a busy box commits at once.
GROUP = 64
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
            f'state = "{self.folder / "state"}"\n[lan]\nhost = "127.0.0.1"\nport = 0\n'
            f'[mdns]\ninterfaces = ["127.0.0.1"]\n[disk]\nballast_mib = 1\n[cloud]\nurl = "{cloud}"\n'
        )

    @property
    def command(self) -> list[str]:
        """What starts the daemon."""
        return [program("storebox"), "run", "--config", str(self.config_file)]

    @contextmanager
    def running(self) -> Iterator[Server]:
        """The daemon, running while inside."""
        with serving(self.command, self.folder / "log") as server:
            yield server

    def fill(self, sales: Iterator[Sale], count: int) -> None:
        """Put sales into the journal as the daemon would, with nobody to send them to."""
        asyncio.run(_append(self.config, [next(sales) for _ in range(count)]))


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
        """Head office, running while inside."""
        command = [program("storebox-cloud"), "run", "--state", str(self._folder / "cloud"), "--port", "0"]
        with serving(command, self._folder / "cloud.log") as server:
            yield server

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
    token = call([program("storebox-cloud"), "enrol-token", *state, "--shop", "S001"]).decode().strip()
    box = Box(folder / "box")
    box.folder.mkdir()
    shop = Shop(folder, articles, [])
    with shop.cloud() as cloud:
        box.configure(cloud.url)
        enrol = [program("storebox"), "enrol", "--config", str(box.config_file)]
        call([*enrol, "--cloud", cloud.url, "--token", token])
        shop.tills.extend(_pair(box.config))
        with box.running() as server:
            _wait_until_mirrored(server, shop.tills[0], len(articles))
            shop.mirroring_peak_mb = peak_mb(server.pid)
    box.fill(shop.sales(SEED), SALES_OF_A_DAY)
    yield shop


def status(server: Server, till: Till) -> Status:
    """What the box says of itself."""
    connection = http.client.HTTPConnection(*server.address, timeout=10)
    try:
        connection.request("GET", "/v1/status", headers={"Authorization": f"Bearer {till.token}"})
        return msgspec.json.decode(connection.getresponse().read(), type=Status)
    finally:
        connection.close()


def _pair(config: Config) -> list[Till]:
    # What `storebox pair` does, without starting a program 64 times.
    book = TillBook(files_in(config).tills)
    return [Till(name, book.pair(name)) for name in (f"till-{number + 1}" for number in range(TILLS))]


def _wait_until_mirrored(server: Server, till: Till, articles: int) -> None:
    until_s = time.monotonic() + MIRRORED_S
    while status(server, till).articles < articles:
        if time.monotonic() > until_s:
            raise Failed(f"the box has not mirrored {articles} articles within {MIRRORED_S} s")
        time.sleep(LOOK_S)


async def _append(config: Config, sales: list[Sale]) -> None:
    identity = Identity(config.state)
    sealer = Sealer(identity.box, identity.signer, SystemClock())
    async with open_journal(files_in(config).journal, sealer) as journal:
        for group in range(0, len(sales), GROUP):
            await asyncio.gather(*(journal.append(draft_of(sale)) for sale in sales[group : group + GROUP]))


def draft_of(sale: Sale) -> Draft:
    """A sale as selling hands it to the journal."""
    body = sale.encode()
    return Draft("sale", b'{"flags":[],"sale":%b}' % body, sale.till_id, sale.key, body)

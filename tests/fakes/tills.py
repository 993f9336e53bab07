"""A whole till on a real disk, as a command runs it, and what it told."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from appliance.runtime.clock import Clock
from appliance.runtime.supervision import supervised
from tests.fakes.tasks import until
from tests.fakes.till_box import FakeBox
from tests.fakes.till_cloud import FakeCloud
from tests.fakes.till_peers import CLOUD_TOKEN, TOKEN
from till.options import Options
from till.report import Line
from till.tickets import Basket, Item
from till.wiring import OpenTill, open_till

Kind = TypeVar("Kind", bound=Line)

# Long enough for an answer on loopback, short enough for a test that waits for none.
SILENCE_S = 0.15


class Told(list[Line]):
    """The lines that a till told, in order."""

    def of(self, kind: type[Kind]) -> list[Kind]:
        """Those of one kind."""
        return [line for line in self if isinstance(line, kind)]

    async def wait(self, kind: type[Kind], count: int = 1) -> Kind:
        """The `count`-th line of a kind, once it was told."""
        await until(lambda: len(self.of(kind)) >= count)
        return self.of(kind)[count - 1]


def a_basket(**overrides: Any) -> Basket:
    """One pair of socks at 12.99, 20 % VAT in it."""
    item = Item("socks-42", **{"quantity": "1", "unit_price_minor": 1_299, "vat_rate_bp": 2_000, **overrides})
    return Basket([item])


def a_credit_note() -> Basket:
    """A ticket that hides an online-only operation."""
    return a_basket(line_type="credit_note", quantity="-1")


@asynccontextmanager
async def a_till(
    folder: Path,
    told: Told,
    clock: Clock,
    *,
    box: FakeBox | str | None,
    cloud: FakeCloud | str | None = None,
    box_token: str = TOKEN,
    seed: int = 7,
) -> AsyncIterator[OpenTill]:
    """The till of this folder, its services running; a peer may be given by URL. Returns once it looked for its box."""
    options = Options(
        state=folder,
        till_id="till-1",
        box_token=box_token,
        box_url=box.url if isinstance(box, FakeBox) else box or "http://127.0.0.1:9",
        cloud_url=cloud.url if isinstance(cloud, FakeCloud) else cloud,
        cloud_token=CLOUD_TOKEN,
        lang="en",
        cloud_timeout_s=SILENCE_S,
    )
    rng = random.Random(seed)
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    async with (
        open_till(options, told.append, clock, rng) as till,
        supervised(till.services, clock, rng),
    ):
        await till.lookout.first_try.wait()
        yield till

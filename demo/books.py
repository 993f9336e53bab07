"""Read the evidence for the tally: head office's books over its API, and the tills' own copies."""

import hashlib
import io
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import aiohttp
import msgspec

from appliance.domain.catalogue import Article, read_transfer, unpack_transfer
from appliance.domain.errors import StoreboxError
from appliance.domain.gate import BUILT_IN, operations_in
from appliance.domain.sale import parse_sale
from appliance.domain.wire import CloudSaleRow, EpochRow, Status
from demo.tally import Books, Chain, Place, Ticket
from till.copy import Copy, read_copies
from till.wiring import COPIES_FILE

PAGE = 1_000
# A machine that is busy with much else stands still for seconds; a program that is gone refuses at once.
TIMEOUT_S = 30.0
Row = TypeVar("Row")


class Unread(StoreboxError):
    """What should be compared could not be read."""

    code, title = "unread", "The books could not be read"


class _BoxRow(msgspec.Struct):
    """The part of a row of the fleet that tells which boxes there are."""

    box: str


class Door(NamedTuple):
    """Where a program of the desk is asked, with which token, and how it is known (None: plain HTTP)."""

    url: str
    token: str
    context: ssl.SSLContext | None = None


class Reader:
    """Reads JSON from one program of the desk. Every call raises Unread when there is no good answer."""

    def __init__(self, session: aiohttp.ClientSession, door: Door) -> None:
        self._session = session
        self._url = door.url
        self._context = door.context
        self._headers = {"Authorization": f"Bearer {door.token}"}

    async def get(self, path: str, **query: str | int) -> bytes:
        """The body of an answer."""
        try:
            async with self._session.get(
                self._url + path,
                params=query,
                headers=self._headers,
                allow_redirects=False,
                ssl=self._context or True,
            ) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unread(f"{path}: {error or type(error).__name__}") from error
        if response.status != 200:
            raise Unread(f"{path}: HTTP {response.status}: {body[:200]!r}")
        return body

    async def status(self) -> Status:
        """A box's own view of itself."""
        return msgspec.json.decode(await self.get("/v1/status"), type=Status)

    async def articles(self) -> list[Article]:
        """What is sold, as head office has published it. Blocks for a moment when there are very many."""
        body = io.BytesIO(await self.get("/v1/catalogue/snapshot"))
        return [item for item in read_transfer(unpack_transfer(body)) if isinstance(item, Article)]

    async def epochs(self, box: str) -> list[EpochRow]:
        """The ends of a box's epochs, as head office holds them."""
        return msgspec.json.decode(await self.get(f"/v1/boxes/{box}/epochs"), type=list[EpochRow])

    async def books(self) -> Books:
        """All sales and all chains of all boxes."""
        boxes = msgspec.json.decode(await self.get("/v1/fleet"), type=list[_BoxRow])
        chains = [await self._chain(row) for box in boxes for row in await self.epochs(box.box)]
        return Books(await self._sales(), chains)

    async def _sales(self) -> list[CloudSaleRow]:
        rows: list[CloudSaleRow] = []
        while True:
            page = await self.get("/v1/sales", after=rows[-1].sale_id if rows else "", limit=PAGE)
            found = [msgspec.json.decode(line, type=CloudSaleRow) for line in page.splitlines()]
            rows += found
            if not found:
                return rows

    async def _chain(self, row: EpochRow) -> Chain:
        bodies: list[bytes] = []
        path = f"/v1/boxes/{row.box}/epochs/{row.epoch}/events"
        while len(bodies) < row.seq:
            page = (await self.get(path, after=len(bodies), limit=PAGE)).split(b"\n")
            found = [line for line in page if line]
            if not found:
                break
            bodies += found
        # What came in since the end was read is for the next tally.
        return Chain(row.box, row.epoch, row.seq, row.head, bodies[: row.seq])


@asynccontextmanager
async def open_session() -> AsyncIterator[aiohttp.ClientSession]:
    """A session for readers: no proxies, some patience."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
        yield session


def read_tickets(tills: Iterable[tuple[str, Path]]) -> list[Ticket]:
    """Every copy that the tills (id, state directory) hold. Blocks; the tills may be running."""
    return [
        _ticket(till, copy)
        for till, state in tills
        if (state / COPIES_FILE).exists()
        for copy in read_copies(state / COPIES_FILE, None)
    ]


def _ticket(till: str, copy: Copy) -> Ticket:
    place = None
    if copy.box is not None and copy.epoch is not None and copy.seq is not None:
        place = Place(copy.box, copy.epoch, copy.seq)
    return Ticket(
        till_id=till,
        sale_id=copy.sale_id,
        number=copy.ticket_number,
        sha256=hashlib.sha256(copy.body).hexdigest(),
        state=copy.state,
        place=place,
        hides_operation=any(operations_in(parse_sale(copy.body), BUILT_IN)),
    )

"""The box, as a till speaks to it (docs/PROTOCOL.md, "The box on the LAN")."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

import aiohttp
import msgspec

from appliance.domain.canonical import canonical
from appliance.domain.catalogue import Article
from appliance.domain.errors import BadSignature, Malformed, NotFound
from appliance.domain.gtin import normalise
from appliance.domain.link import Cause
from appliance.domain.pairing import Observation
from appliance.domain.wire import (
    Ack,
    ArticlesView,
    CatalogueView,
    Hello,
    ModeView,
    OperationAnswer,
    OperationRequest,
    SaleView,
    Status,
    SyncedView,
    WitnessAnswer,
)
from till.errors import NoAnswer, Refused
from till.peer import Peer
from till.pin import Identity
from till.sse import Message, Parser

# An ack waits for the box's disk: an SD card in a bad moment takes seconds.
SALE_S = 5.0
# A snapshot of 100,000 articles, zipped, over a slow Wi-Fi.
CATALOGUE_S = 120.0
CATALOGUE_BYTES_MAX = 64 * 1024 * 1024

View = ModeView | SyncedView | CatalogueView
_VIEWS: dict[str, type[View]] = {"mode": ModeView, "synced": SyncedView, "catalogue": CatalogueView}


class Acked(msgspec.Struct, frozen=True):
    """A verified ack and its verbatim bytes."""

    ack: Ack
    body: bytes


class Box:
    """One box at one address. Every call raises NoAnswer or Refused; acks are verified under the box's key."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base: str,
        identity: Identity,
        *,
        context: ssl.SSLContext | None = None,
        token: str | None = None,
    ) -> None:
        self._peer = Peer(session, base, total_s=SALE_S, context=context, token=token)
        self.base = base
        self.identity = identity

    async def sell(self, sale_id: str, body: bytes) -> Acked:
        """Bring a sale; it is on the box's disk when this returns, also when it was there before."""
        answer = await self._peer.post("/v1/sales", body)
        return Acked(self._verified(self._peer.parsed(answer, Ack), sale_id), answer.body)

    async def look_up(self, sale_id: str) -> SaleView | None:
        """A sale as the box holds it, its ack verified; None when the box does not know it."""
        try:
            answer = await self._peer.get(f"/v1/sales/{sale_id}")
        except Refused as error:
            if error.problem_code == NotFound.code:
                return None
            raise
        view = self._peer.parsed(answer, SaleView)
        self._verified(view.ack, sale_id)
        return view

    async def witness(self, head: bytes) -> WitnessAnswer:
        """Show the box a head that it signed; whether its journal lacks it. Safe to show twice."""
        return self._peer.parsed(await self._peer.post("/v1/witness", head), WitnessAnswer)

    async def operation(self, name: str, request: OperationRequest) -> OperationAnswer:
        """Ask for an online-only operation through the box."""
        answer = await self._peer.post(f"/v1/operations/{name}", canonical(request))
        told = self._peer.parsed(answer, OperationAnswer)
        if told.operation_id != request.operation_id:
            raise self._peer.not_our_words("an answer about another operation_id")
        return told

    async def status(self) -> Status:
        """How the box is; needs a token that it knows."""
        return self._peer.parsed(await self._peer.get("/v1/status"), Status)

    async def observed(self, observation: Observation) -> None:
        """Tell the box how it was found."""
        await self._peer.post("/v1/observations", msgspec.json.encode(observation))

    async def article(self, code: str) -> Article | None:
        """An article by its id, or by a GTIN."""
        found = await self._articles(f"/v1/articles/{quote(code, safe='')}", None)
        if found is None and normalise(code) is not None:
            found = await self._articles("/v1/articles", {"gtin": code})
        return found

    async def _articles(self, path: str, params: dict[str, str] | None) -> Article | None:
        try:
            answer = await self._peer.get(path, params=params)
        except Refused as error:
            if error.problem_code == NotFound.code:
                return None
            raise
        return next(iter(self._peer.parsed(answer, ArticlesView).articles), None)

    async def catalogue(self, since: int | None) -> bytes:
        """A transfer (None: the snapshot), zipped and unchecked. Refused (`snapshot-required`) when too old."""
        path = "/v1/catalogue/snapshot" if since is None else "/v1/catalogue/changes"
        params = None if since is None else {"since": str(since)}
        answer = await self._peer.get(path, params=params, bytes_max=CATALOGUE_BYTES_MAX, total_s=CATALOGUE_S)
        return answer.body

    @asynccontextmanager
    async def events(self) -> AsyncIterator[AsyncIterator[View]]:
        """What the box tells while inside, its current views first. Ends, or raises NoAnswer, with the line."""
        async with self._peer.stream("/v1/events") as chunks:
            yield _views(self._peer, chunks)

    def _verified(self, ack: Ack, sale_id: str) -> Ack:
        try:
            self.identity.check_ack(ack, sale_id)
        except BadSignature as error:
            # Whoever answered so is not our box, or our box is broken: the sale is not safe there.
            raise NoAnswer(f"{self.base}: {error}", cause=Cause.REFUSED, in_doubt=True) from error
        return ack


async def hello(session: aiohttp.ClientSession, base: str, context: ssl.SSLContext | None = None) -> Hello:
    """Who claims to be at this address. Raises NoAnswer or Refused."""
    peer = Peer(session, base, total_s=SALE_S, context=context)
    return peer.parsed(await peer.get("/v1/hello"), Hello)


async def _views(peer: Peer, chunks: AsyncIterator[bytes]) -> AsyncIterator[View]:
    parser = Parser()
    async for chunk in chunks:
        try:
            for message in parser.feed(chunk):
                if (view := _view(message)) is not None:
                    yield view
        except (Malformed, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise peer.not_our_words(str(error)) from error


def _view(message: Message) -> View | None:
    # A later box may tell more: what is not known is not for us.
    kind = _VIEWS.get(message.event)
    return None if kind is None else msgspec.json.decode(message.data, type=kind)

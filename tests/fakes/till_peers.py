"""A small honest box and a small honest cloud for tills to talk to: real HTTP on loopback, real signatures."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Literal

import msgspec
import zstandard
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.domain.catalogue import Article, Lead, write_transfer
from appliance.domain.dsse import Signer
from appliance.domain.errors import (
    NotFound,
    NotReady,
    SaleConflict,
    SnapshotRequired,
    StoreboxError,
    Unauthenticated,
)
from appliance.domain.event import GENESIS, ClockReading, Position, seal
from appliance.domain.flags import flags
from appliance.domain.gate import BUILT_IN, admit, operations_in
from appliance.domain.identity import box_id
from appliance.domain.link import Cause, Link, LinkState
from appliance.domain.sale import Mode, Sale, parse_sale
from appliance.domain.statements import HEAD_TYPE, Head, sign, verify
from appliance.domain.wire import (
    Ack,
    ArticlesView,
    CatalogueView,
    CloudSaleAnswer,
    Hello,
    JournalView,
    ModeView,
    OperationAnswer,
    OperationRequest,
    SaleView,
    Status,
    SyncedView,
    WitnessAnswer,
)
from appliance.runtime.keyfile import public_pem
from appliance.runtime.problem import Handler, problem_middleware
from appliance.runtime.serving import listening

TOKEN = "box-token"
CLOUD_TOKEN = "cloud-token"
AT = "2026-11-22T08:30:00.000Z"


def a_sign_in_page() -> web.Response:
    """What a captive portal says to everything."""
    return web.Response(text="<html>Please sign in</html>", content_type="text/html")


def a_proxys_error() -> web.Response:
    """What something in between says in JSON, but not in ours."""
    return web.json_response({"code": "not-found"}, status=404)


def another_answer() -> web.Response:
    """An answer of the right form, to a question that was not asked."""
    return _json(CloudSaleAnswer("019aab10-d8e0-7000-8000-00000000ffff", AT), 201)


class FakeBox:
    """A box whose state is all in memory; it outlives its server, so a restart is leaving and entering `serving`."""

    def __init__(self, seed: int = 1, token: str = TOKEN) -> None:
        self.signer = Signer(Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32)))
        self.id = box_id(self.signer.public_key)
        self.token = token
        self.end = Position(1, 0, GENESIS)
        self.acks: dict[str, bytes] = {}
        self.sales: dict[str, Sale] = {}
        self.posted: list[bytes] = []
        self.shown: list[Head] = []
        self.refusing_witness: StoreboxError | None = None
        self.operations: list[str] = []
        self.synced_seq = 0
        self.articles: dict[int, list[Article]] = {}
        self.failing: StoreboxError | None = None
        self.hang_ups = 0  # so many sales are met with a closed connection
        self.look_ups_refused = 0  # so many look-ups are answered that it is not ready
        self.tokens_seen: set[str] = set()
        self.url = ""
        self._mode = ModeView("cloud", "online", "ok", AT)
        self._changes = 0
        self._streams: set[asyncio.Queue[tuple[str, msgspec.Struct]]] = set()

    # --- what a test does to it

    def propose(self, mode: Mode, cause: str) -> None:
        """Change the mode that it proposes; the line is what the mode says."""
        self._changes += 1
        link = "online" if mode == "cloud" else "offline"
        changed_at = datetime(2026, 11, 22, 9, 0, self._changes, tzinfo=UTC).isoformat()
        self._mode = ModeView(mode, link, cause, changed_at)
        self._tell("mode", self._mode)

    def sync(self, seq: int | None = None) -> None:
        """The cloud has everything up to there (or all)."""
        self.synced_seq = self.end.seq if seq is None else seq
        self._tell("synced", SyncedView(self.end.epoch, self.synced_seq))

    def publish(self, version: int, articles: list[Article]) -> None:
        """A new version of the catalogue, whole."""
        self.articles[version] = articles
        self._tell("catalogue", CatalogueView(version))

    def forget(self, sale_id: str) -> None:
        """Lose a sale, as a card that lied about flushing does; the chain goes on in a new epoch."""
        del self.acks[sale_id], self.sales[sale_id]
        self.end = Position(self.end.epoch + 1, 0, GENESIS)

    @property
    def listeners(self) -> int:
        """How many event streams are open."""
        return len(self._streams)

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[int]:
        """Answer on loopback while inside."""
        app = web.Application(middlewares=[problem_middleware])
        app.router.add_get("/v1/hello", self._hello)
        app.router.add_get("/v1/status", self._guard(self._status))
        app.router.add_get("/v1/events", self._guard(self._events))
        app.router.add_post("/v1/sales", self._guard(self._post_sale))
        app.router.add_get("/v1/sales/{sale_id}", self._guard(self._get_sale))
        app.router.add_get("/v1/articles/{article_id}", self._guard(self._article))
        app.router.add_get("/v1/articles", self._guard(self._article))
        app.router.add_get("/v1/catalogue/{kind}", self._guard(self._transfer))
        app.router.add_post("/v1/operations/{operation}", self._guard(self._operation))
        app.router.add_post("/v1/witness", self._guard(self._witness))
        self._add_routes(app)
        app.on_shutdown.append(self._end_streams)
        context = self._context()
        async with listening(app, "127.0.0.1", port, context=context) as bound:
            self.url = f"http{'s' if context else ''}://127.0.0.1:{bound}"
            yield bound

    def _add_routes(self, app: web.Application) -> None:
        """More calls."""

    def _context(self) -> ssl.SSLContext | None:
        """How it speaks TLS."""
        return None

    def _knows(self, request: web.Request) -> bool:
        return request.headers.get("Authorization") == f"Bearer {self.token}"

    # --- how it answers

    def hello(self) -> Hello:
        """Its greeting."""
        key = public_pem(self.signer.public_key)
        return Hello(self.id, "shop-1", "Storebox shop-1", "fake", self.signer.key_id, key)

    def ack(self, sale: Sale) -> Ack:
        """Seal a sale into the chain, and vouch for it."""
        clock = ClockReading("synced", "boot-1", 1)
        sealed = seal(
            self.end,
            box=self.id,
            kind="sale",
            till=sale.till_id,
            at=AT,
            clock=clock,
            data=msgspec.Raw(sale.encode()),
        )
        self.end = Position(self.end.epoch, sealed.link.seq, sealed.hash)
        head = sign(self.signer, HEAD_TYPE, Head(self.id, self.end.epoch, self.end.seq, sealed.hash.hex()))
        return Ack(
            sale.sale_id,
            self.id,
            self.end.epoch,
            self.end.seq,
            sealed.hash.hex(),
            AT,
            flags(sale),
            msgspec.Raw(head),
        )

    def _guard(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            self.tokens_seen.add(request.headers.get("Authorization", ""))
            if not self._knows(request):
                raise Unauthenticated
            return await handler(request)

        return guarded

    async def _hello(self, request: web.Request) -> web.Response:
        return _json(self.hello())

    async def _witness(self, request: web.Request) -> web.Response:
        if self.refusing_witness is not None:
            raise self.refusing_witness
        head = verify(await request.read(), HEAD_TYPE, Head, {self.signer.key_id: self.signer.public_key})
        self.shown.append(head)
        lacks = head.position > self.end
        return _json(WitnessAnswer(lacks, self.end.epoch, self.end.seq, self.end.head.hex()))

    async def _status(self, request: web.Request) -> web.Response:
        journal = JournalView(self.end.epoch, self.end.seq, self.end.head.hex(), self.synced_seq, 0, 0.0)
        state: Literal["online", "offline"] = "online" if self._mode.mode == "cloud" else "offline"
        version = max(self.articles, default=0)
        return _json(
            Status(
                box=self.id,
                shop="shop-1",
                software="fake",
                state=state,
                uptime_s=1.0,
                mode=self._mode,
                journal=journal,
                catalogue_version=version,
                catalogue_age_s=0.0,
                articles=len(self.articles.get(version, [])),
                policy_version=0,
                tills_seen=1,
                issues=[],
                sales_accepted=len(self.acks),
                sales_replayed=0,
                sales_conflicting=0,
                sales_flagged=0,
                operations_refused=0,
                operations_passed=len(self.operations),
            )
        )

    async def _events(self, request: web.Request) -> web.StreamResponse:
        queue: asyncio.Queue[tuple[str, msgspec.Struct]] = asyncio.Queue()
        queue.put_nowait(("mode", self._mode))
        queue.put_nowait(("synced", SyncedView(self.end.epoch, self.synced_seq)))
        queue.put_nowait(("catalogue", CatalogueView(max(self.articles, default=0))))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        self._streams.add(queue)
        try:
            while (told := await queue.get())[0]:
                text = msgspec.json.encode(told[1]).decode()
                await response.write(f"event: {told[0]}\r\ndata: {text}\r\n\r\n".encode())
        except ConnectionResetError:
            pass
        finally:
            self._streams.discard(queue)
        return response

    async def _end_streams(self, app: web.Application) -> None:
        self._tell("", self._mode)

    async def _post_sale(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.hang_ups:
            self.hang_ups -= 1
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        self.posted.append(body)
        sale = parse_sale(body)
        if (known := self.sales.get(sale.sale_id)) is not None:
            if known != sale:
                raise SaleConflict
            return web.Response(body=self.acks[sale.sale_id], content_type="application/json")
        if self.failing is not None:
            raise self.failing
        for operation in operations_in(sale, BUILT_IN):
            admit(operation, self._link(), BUILT_IN)
        self.sales[sale.sale_id] = sale
        self.acks[sale.sale_id] = msgspec.json.encode(self.ack(sale))
        return web.Response(body=self.acks[sale.sale_id], status=201, content_type="application/json")

    async def _get_sale(self, request: web.Request) -> web.Response:
        sale_id = request.match_info["sale_id"]
        if self.look_ups_refused:
            self.look_ups_refused -= 1
            raise NotReady
        if sale_id not in self.acks:
            raise NotFound
        ack = msgspec.json.decode(self.acks[sale_id], type=Ack)
        synced = ack.epoch == self.end.epoch and ack.seq <= self.synced_seq
        return _json(SaleView(ack, synced, self.sales[sale_id]))

    async def _article(self, request: web.Request) -> web.Response:
        version = max(self.articles, default=0)
        article_id, gtin = request.match_info.get("article_id"), request.query.get("gtin")
        found = [a for a in self.articles.get(version, []) if a.article_id == article_id or gtin in a.gtins]
        if article_id is not None and not found:
            raise NotFound
        return _json(ArticlesView(version, 0.0, found))

    async def _transfer(self, request: web.Request) -> web.Response:
        version = max(self.articles, default=0)
        since = None if request.match_info["kind"] == "snapshot" else int(request.query["since"])
        if since is not None and since not in self.articles:
            raise SnapshotRequired
        known = [] if since is None else self.articles[since]
        changed = [article for article in self.articles.get(version, []) if article not in known]
        body = zstandard.compress(b"".join(write_transfer(Lead(version, since), changed)))
        return web.Response(body=body, content_type="application/vnd.storebox.catalogue.v1+zstd")

    async def _operation(self, request: web.Request) -> web.Response:
        operation = request.match_info["operation"]
        admit(operation, self._link(), BUILT_IN)
        asked = msgspec.json.decode(await request.read(), type=OperationRequest)
        self.operations.append(asked.operation_id)
        return _json(OperationAnswer(asked.operation_id, operation, AT), 201)

    def _link(self) -> Link:
        online = self._mode.mode == "cloud"
        return Link(
            LinkState.ONLINE if online else LinkState.OFFLINE, Cause.OK if online else Cause.NO_ANSWER
        )

    def _tell(self, topic: str, view: msgspec.Struct) -> None:
        for stream in self._streams:
            stream.put_nowait((topic, view))


class FakeCloud:
    """A cloud that can fail in the ways that tills meet."""

    def __init__(self, token: str = CLOUD_TOKEN) -> None:
        self.token = token
        self.sales: dict[str, bytes] = {}
        self.operations: dict[str, str] = {}
        self.url = ""
        self.failing: StoreboxError | None = None
        self.portal: Callable[[], web.Response] | None = None
        self.silent = False
        self.silent_after_storing = False
        self._stopping = asyncio.Event()

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[int]:
        """Answer on loopback while inside."""
        self._stopping.clear()
        app = web.Application(middlewares=[problem_middleware])
        app.router.add_post("/v1/sales", self._post_sale)
        app.router.add_post("/v1/operations/{operation}", self._operation)
        app.on_shutdown.append(self._end_silence)
        async with listening(app, "127.0.0.1", port) as bound:
            self.url = f"http://127.0.0.1:{bound}"
            yield bound

    async def _say_nothing(self) -> None:
        await self._stopping.wait()  # the till has had enough long before

    async def _end_silence(self, app: web.Application) -> None:
        self._stopping.set()

    async def _judge(self, request: web.Request) -> web.Response | None:
        if self.portal is not None:
            return self.portal()
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            raise Unauthenticated
        if self.failing is not None:
            raise self.failing
        if self.silent:
            await self._say_nothing()
        return None

    async def _post_sale(self, request: web.Request) -> web.Response:
        body = await request.read()
        if (answer := await self._judge(request)) is not None:
            return answer
        sale = parse_sale(body)
        known = self.sales.setdefault(sale.sale_id, body)
        if known != body:
            raise SaleConflict
        if self.silent_after_storing:
            await self._say_nothing()
        return _json(CloudSaleAnswer(sale.sale_id, AT), 201)

    async def _operation(self, request: web.Request) -> web.Response:
        asked = msgspec.json.decode(await request.read(), type=OperationRequest)
        if (answer := await self._judge(request)) is not None:
            return answer
        self.operations[asked.operation_id] = request.match_info["operation"]
        if self.silent_after_storing:
            await self._say_nothing()
        return _json(OperationAnswer(asked.operation_id, request.match_info["operation"], AT), 201)


def _json(view: msgspec.Struct, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(view), status=status, content_type="application/json")

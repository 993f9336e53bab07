"""A small honest box for tills to talk to: real HTTP on loopback, real signatures."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import msgspec
import zstandard
from aiohttp import web

from appliance.domain.catalogue import Lead, write_transfer
from appliance.domain.errors import NotFound, NotReady, SaleConflict, SnapshotRequired, Unauthenticated
from appliance.domain.gate import BUILT_IN, admit, operations_in
from appliance.domain.sale import parse_sale
from appliance.domain.statements import HEAD_TYPE, Head, verify
from appliance.domain.wire import (
    Ack,
    ArticlesView,
    CatalogueView,
    JournalView,
    OperationAnswer,
    OperationRequest,
    SaleView,
    Status,
    SyncedView,
    WitnessAnswer,
)
from appliance.runtime.problem import Handler, problem_middleware
from appliance.runtime.serving import listening
from tests.fakes.till_box_state import BoxState
from tests.fakes.till_peers import AT, json_answer


class FakeBox(BoxState):
    """A box whose state is all in memory; it outlives its server, so a restart is leaving and entering `serving`."""

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

    def _guard(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            self.tokens_seen.add(request.headers.get("Authorization", ""))
            if not self._knows(request):
                raise Unauthenticated
            return await handler(request)

        return guarded

    async def _hello(self, request: web.Request) -> web.Response:
        return json_answer(self.hello())

    async def _witness(self, request: web.Request) -> web.Response:
        if self.refusing_witness is not None:
            raise self.refusing_witness
        head = verify(await request.read(), HEAD_TYPE, Head, {self.signer.key_id: self.signer.public_key})
        self.shown.append(head)
        lacks = head.position > self.end
        return json_answer(WitnessAnswer(lacks, self.end.epoch, self.end.seq, self.end.head.hex()))

    async def _status(self, request: web.Request) -> web.Response:
        journal = JournalView(self.end.epoch, self.end.seq, self.end.head.hex(), self.synced_seq, 0, 0.0)
        state: Literal["online", "offline"] = "online" if self._mode.mode == "cloud" else "offline"
        version = max(self.articles, default=0)
        return json_answer(
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
        return json_answer(SaleView(ack, synced, self.sales[sale_id]))

    async def _article(self, request: web.Request) -> web.Response:
        version = max(self.articles, default=0)
        article_id, gtin = request.match_info.get("article_id"), request.query.get("gtin")
        found = [a for a in self.articles.get(version, []) if a.article_id == article_id or gtin in a.gtins]
        if article_id is not None and not found:
            raise NotFound
        return json_answer(ArticlesView(version, 0.0, found))

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
        return json_answer(OperationAnswer(asked.operation_id, operation, AT), 201)

"""A small honest cloud for tills to talk to, over real HTTP on loopback, and what may stand in its place."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web

from appliance.domain.errors import SaleConflict, StoreboxError, Unauthenticated
from appliance.domain.sale import parse_sale
from appliance.domain.wire import CloudSaleAnswer, OperationAnswer, OperationRequest
from appliance.runtime.problem import problem_middleware
from appliance.runtime.serving import listening
from tests.fakes.till_peers import AT, CLOUD_TOKEN, json_answer


def a_sign_in_page() -> web.Response:
    """What a captive portal says to everything."""
    return web.Response(text="<html>Please sign in</html>", content_type="text/html")


def a_proxys_error() -> web.Response:
    """What something in between says in JSON, but not in ours."""
    return web.json_response({"code": "not-found"}, status=404)


def another_answer() -> web.Response:
    """An answer of the right form, to a question that was not asked."""
    return json_answer(CloudSaleAnswer("019aab10-d8e0-7000-8000-00000000ffff", AT), 201)


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
        return json_answer(CloudSaleAnswer(sale.sale_id, AT), 201)

    async def _operation(self, request: web.Request) -> web.Response:
        asked = msgspec.json.decode(await request.read(), type=OperationRequest)
        if (answer := await self._judge(request)) is not None:
            return answer
        self.operations[asked.operation_id] = request.match_info["operation"]
        if self.silent_after_storing:
            await self._say_nothing()
        return json_answer(OperationAnswer(asked.operation_id, request.match_info["operation"], AT), 201)

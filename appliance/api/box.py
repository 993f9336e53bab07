"""The box about itself: greeting, liveness, readiness, status, metrics, events."""

import asyncio

import msgspec
from aiohttp import web
from aiohttp_sse import EventSourceResponse, sse_response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from appliance.api.access import TILL
from appliance.api.keys import FEED, OPENAPI, PAIRING, REPORT, STREAMS
from appliance.api.metrics import StatusCollector
from appliance.domain.errors import StorageFault
from appliance.domain.wire import Ready
from appliance.runtime.bodies import json_answer
from appliance.services.feed import Subscription

# Often enough for a till to notice within a quarter of a minute that the box is gone.
PING_S = 15.0


async def get_hello(request: web.Request) -> web.Response:
    """The name of the box: all that anybody may know."""
    return json_answer(request.app[PAIRING].hello())


async def get_live(request: web.Request) -> web.Response:
    """The event loop turns: it answered this."""
    del request
    return json_answer(Ready("live"))


async def get_ready(request: web.Request) -> web.Response:
    """Sales can be accepted. Never depends on the line."""
    if (fault := request.app[REPORT].journal.fault) is not None:
        raise StorageFault(fault)
    request.app[REPORT].disk.admit()
    return json_answer(Ready("ready"))


async def get_openapi(request: web.Request) -> web.Response:
    """This API, described from the types that parse it."""
    return web.Response(body=request.app[OPENAPI], content_type="application/json")


async def get_status(request: web.Request) -> web.Response:
    """The box in numbers."""
    return json_answer(request.app[REPORT].status())


async def get_metrics(request: web.Request) -> web.Response:
    """The same for Prometheus."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StatusCollector(request.app[REPORT].status()))
    return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


async def get_events(request: web.Request) -> web.StreamResponse:
    """Server-sent events: the current view of each topic, then every change, until the till leaves."""
    async with sse_response(request, ping_interval=PING_S) as response:
        with request.app[FEED].subscribe() as subscription:
            request.app[STREAMS][response] = request[TILL]
            sender = asyncio.create_task(_send_all(subscription, response), name="sse")
            try:
                await response.wait()
            finally:
                sender.cancel()
                request.app[STREAMS].pop(response, None)
    return response


async def end_streams(app: web.Application) -> None:
    """At shutdown: streams last for ever unless they are ended."""
    streams = app[STREAMS]
    for response in list(streams):
        response.stop_streaming()


def end_streams_of(app: web.Application, till: str) -> None:
    """A till's streams, when it is revoked or paired anew: only a new request says who listens."""
    for response in [response for response, whose in app[STREAMS].items() if whose == till]:
        response.stop_streaming()


async def _send_all(subscription: Subscription, response: EventSourceResponse) -> None:
    while True:
        topic, view = await subscription.next()
        try:
            await response.send(msgspec.json.encode(view).decode(), event=topic)
        except (ConnectionResetError, TimeoutError):
            return  # send() has ended the stream

"""All routes of the box on one page, and the application that serves them."""

import json
from collections.abc import Callable

from aiohttp import web

from appliance import __version__
from appliance.api import articles, box, exports, keys, operations, sales, witness
from appliance.api.access import for_loopback_or_tills, for_tills
from appliance.api.openapi import Route, document
from appliance.domain.dsse import Envelope
from appliance.domain.sale import SALE_BYTES_MAX, Sale
from appliance.domain.wire import (
    CATALOGUE_MEDIA,
    Ack,
    ArticlesView,
    ExportNote,
    Hello,
    OperationAnswer,
    OperationRequest,
    Ready,
    SaleView,
    Status,
    WitnessAnswer,
)
from appliance.runtime.problem import Handler, problem_middleware
from appliance.services.feed import Feed
from appliance.services.report import Report

ROUTES = (
    Route("GET", "/v1/hello", box.get_hello, "anybody", "The name of the box", {200: Hello}),
    Route("GET", "/livez", box.get_live, "anybody", "The event loop turns", {200: Ready}),
    Route("GET", "/readyz", box.get_ready, "anybody", "Sales can be accepted", {200: Ready}, (503, 507)),
    Route("GET", "/openapi.json", box.get_openapi, "anybody", "This document", {200: "application/json"}),
    Route("GET", "/metrics", box.get_metrics, "loopback or till", "Prometheus metrics", {200: "text/plain"}),
    Route("GET", "/v1/status", box.get_status, "till", "The box in numbers", {200: Status}),
    Route("GET", "/v1/events", box.get_events, "till", "Server-sent events", {200: "text/event-stream"}),
    Route(
        "POST",
        sales.SALES,
        sales.post_sale,
        "till",
        "Accept a sale: 201 once it is on disk, 200 with the same bytes on a replay",
        {201: Ack, 200: Ack},
        (400, 403, 408, 409, 413, 415, 422, 503, 507),
        body=Sale,
    ),
    Route("GET", "/v1/sales/{sale_id}", sales.get_sale, "till", "Look a sale up", {200: SaleView}, (404,)),
    Route(
        "GET",
        "/v1/articles/{article_id}",
        articles.get_article,
        "till",
        "Look an article up by its id",
        {200: ArticlesView},
        (404,),
    ),
    Route(
        "GET",
        "/v1/articles",
        articles.find_articles,
        "till",
        "Find articles by GTIN or by words",
        {200: ArticlesView},
        (400,),
        query=("gtin", "q", "limit"),
    ),
    Route(
        "GET",
        "/v1/catalogue/snapshot",
        articles.get_snapshot,
        "till",
        "The whole catalogue",
        {200: CATALOGUE_MEDIA},
        (503, 507),
    ),
    Route(
        "GET",
        "/v1/catalogue/changes",
        articles.get_changes,
        "till",
        "What changed after a version",
        {200: CATALOGUE_MEDIA},
        (400, 410),
        query=("since",),
    ),
    Route(
        "POST",
        "/v1/witness",
        witness.post_witness,
        "till",
        "Show the last signed head that the till was acked with: a card that was put back is found so",
        {200: WitnessAnswer},
        (400, 403, 408, 413, 415, 503, 507),
        body=Envelope,
    ),
    Route(
        "POST",
        "/v1/exports",
        exports.post_export,
        "till",
        "The box's own command only: record in the chain that the journal was exported",
        {201: ExportNote},
        (400, 403, 408, 413, 415, 503, 507),
        body=ExportNote,
    ),
    Route(
        "POST",
        "/v1/operations/{operation}",
        operations.post_operation,
        "till",
        "An online-only operation: through head office, now or not at all",
        {201: OperationAnswer},
        (400, 404, 408, 413, 415, 422, 502, 503, 504),
        body=OperationRequest,
    ),
)

GUARDS: dict[str, Callable[[Handler], Handler]] = {
    "anybody": lambda handler: handler,
    "till": for_tills,
    "loopback or till": for_loopback_or_tills,
}


def make_app(hello: Hello, feed: Feed, report: Report) -> web.Application:
    """The box's application; routes that are not open to anybody or to the box itself ask for a till's token."""
    app = web.Application(middlewares=[problem_middleware], client_max_size=SALE_BYTES_MAX)
    app[keys.HELLO] = hello
    app[keys.FEED] = feed
    app[keys.REPORT] = report
    app[keys.MIRROR] = report.mirror
    app[keys.MIRROR_KEEPER] = report.keeper
    app[keys.OPERATIONS] = report.operations
    app[keys.PRESENCE] = report.presence
    app[keys.SELLING] = report.selling
    app[keys.OPENAPI] = json.dumps(document(ROUTES, version=__version__)).encode()
    app[keys.STREAMS] = set()
    for route in ROUTES:
        app.router.add_route(route.method, route.path, GUARDS[route.access](route.handler))
    app.on_shutdown.append(box.end_streams)
    return app

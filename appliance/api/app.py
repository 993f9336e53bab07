"""All routes of the box on one page, and the application that serves them."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from appliance import __version__
from appliance.api import articles, box, exports, keys, operations, pairing, sales, tills, trial, witness
from appliance.api.access import TILL, for_console, for_loopback_or_tills, for_tills
from appliance.api.headers import add_strict_headers
from appliance.api.limits import for_newcomers, for_strangers, limits_middleware, part_with_the_hasty
from appliance.api.openapi import Route, document
from appliance.domain.dsse import Envelope
from appliance.domain.pairing import (
    Observation,
    PairAnswer,
    PairingOpen,
    PairingView,
    PairRequest,
    TillName,
    TillView,
)
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
    TrialAnswer,
    WitnessAnswer,
)
from appliance.runtime.guard import Guard
from appliance.runtime.problem import Handler, problem_middleware
from appliance.services.feed import Feed
from appliance.services.multicast import MulticastWatch
from appliance.services.pairing import Pairing
from appliance.services.rates import Rates
from appliance.services.report import Report
from appliance.services.tills import TillDesk
from appliance.services.trial import Trial

ROUTES = (
    Route("GET", "/v1/hello", box.get_hello, "anybody", "The name of the box", {200: Hello}),
    Route("GET", "/livez", box.get_live, "anybody", "The event loop turns", {200: Ready}),
    Route("GET", "/readyz", box.get_ready, "anybody", "Sales can be accepted", {200: Ready}, (503, 507)),
    Route("GET", "/openapi.json", box.get_openapi, "till", "This document", {200: "application/json"}),
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
        "console",
        "Record in the chain that the journal was exported",
        {201: ExportNote},
        (400, 403, 408, 413, 415, 503, 507),
        body=ExportNote,
    ),
    Route(
        "POST",
        "/v1/trial",
        trial.post_trial,
        "console",
        "Sell into a chain of its own: the proof of a new release",
        {201: TrialAnswer},
        (400, 408, 413, 415, 422, 503, 507),
        body=Sale,
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
    Route(
        "POST",
        "/v1/pair",
        pairing.post_pair,
        "newcomer",
        "Let a till in: by the secret of the open window, or by a key that the box before this one knew",
        {201: PairAnswer},
        (400, 408, 413, 415, 503, 507),
        body=PairRequest,
    ),
    Route(
        "POST",
        "/v1/observations",
        pairing.post_observation,
        "till",
        "Whether the till sees the box by multicast",
        {204: None},
        (400, 408, 413, 415),
        body=Observation,
    ),
    Route("GET", "/v1/tills", tills.list_tills, "console", "The paired tills", {200: list[TillView]}),
    Route(
        "PATCH",
        "/v1/tills/{till}",
        tills.rename_till,
        "console",
        "Give a till another name for people",
        {200: TillView},
        (400, 404, 408, 413, 415, 503, 507),
        body=TillName,
    ),
    Route(
        "DELETE",
        "/v1/tills/{till}",
        tills.revoke_till,
        "console",
        "Let a till in no more, from its next request on",
        {204: None},
        (404, 503, 507),
    ),
    Route(
        "POST",
        "/v1/pairing",
        pairing.open_pairing,
        "console",
        "Open the pairing window; one that was open ends",
        {201: PairingView},
        (400, 408, 413, 415, 503, 507),
        body=PairingOpen,
    ),
    Route(
        "GET", "/v1/pairing", pairing.get_pairing, "console", "The open window", {200: PairingView}, (404,)
    ),
    Route("DELETE", "/v1/pairing", pairing.close_pairing, "console", "Close the window", {204: None}),
)

GUARDS: dict[str, Callable[[Handler], Handler]] = {
    "anybody": for_strangers,
    "newcomer": for_newcomers,
    "till": for_tills,
    "loopback or till": for_loopback_or_tills,
    "console": for_console,
}


@dataclass(frozen=True)
class Doors:
    """Who stands at the doors, beside the parts that the report knows."""

    feed: Feed
    pairing: Pairing
    tills: TillDesk
    multicast: MulticastWatch
    rates: Rates
    guard: Guard
    trial: Trial
    tls: bool


def make_app(doors: Doors, report: Report) -> web.Application:
    """The box's application; routes that are not open to anybody or to the box itself ask for a till's token."""
    known = doors.guard.middleware(lambda request: TILL in request)
    app = web.Application(
        middlewares=[known, problem_middleware, limits_middleware], client_max_size=SALE_BYTES_MAX
    )
    app[keys.FEED] = doors.feed
    app[keys.MULTICAST] = doors.multicast
    app[keys.PAIRING] = doors.pairing
    app[keys.RATES] = doors.rates
    app[keys.TILLS] = doors.tills
    app[keys.TRIAL] = doors.trial
    app[keys.REPORT] = report
    app[keys.MIRROR] = report.mirror
    app[keys.MIRROR_KEEPER] = report.keeper
    app[keys.OPERATIONS] = report.operations
    app[keys.PRESENCE] = report.presence
    app[keys.SELLING] = report.selling
    app[keys.OPENAPI] = json.dumps(document(ROUTES, version=__version__)).encode()
    app[keys.STREAMS] = {}
    for route in ROUTES:
        app.router.add_route(route.method, route.path, GUARDS[route.access](route.handler))
    app.on_shutdown.append(box.end_streams)
    app.on_response_prepare.append(part_with_the_hasty)
    add_strict_headers(app, tls=doors.tls)
    return app

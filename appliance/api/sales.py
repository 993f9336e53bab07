"""Sales: post one, look one up."""

from functools import partial
from http import HTTPStatus

import msgspec
from aiohttp import hdrs, web

from appliance.api.access import TILL
from appliance.api.bodies import read_json
from appliance.api.keys import PRESENCE, RATES, SELLING
from appliance.api.limits import identified
from appliance.domain import digest
from appliance.domain.sale import SALE_BYTES_MAX, read_sale
from appliance.runtime.bodies import JSON, json_answer
from appliance.runtime.problem import answer_to
from appliance.runtime.shortway import Asked, ShortWay, answer
from appliance.services.presence import Presence
from appliance.services.rates import Rates
from appliance.services.selling import Selling

SALES = "/v1/sales"


async def post_sale(request: web.Request) -> web.Response:
    """Accept a sale: 201 once it is on disk, 200 with the same bytes when it is known."""
    body = await read_json(request, SALE_BYTES_MAX)
    status, ack, location = await _accept(request.app[SELLING], body, request[TILL])
    return web.Response(body=ack, status=status, content_type=JSON, headers={hdrs.LOCATION: location})


def short_way(app: web.Application) -> ShortWay:
    """The same for a till that keeps a connection for its sales."""
    told = partial(answer_to, method=hdrs.METH_POST, path=SALES)
    serve = partial(_post_shortly, app[PRESENCE], app[RATES], app[SELLING])
    return ShortWay(SALES, SALE_BYTES_MAX, serve, told)


async def _post_shortly(presence: Presence, rates: Rates, selling: Selling, asked: Asked) -> bytes:
    authorization = asked.headers.get("authorization")
    till = await identified(presence, rates, authorization, asked.certificate, asked.remote)
    digest.check_digest(asked.headers.get("content-digest"), asked.body)
    return answer(*await _accept(selling, asked.body, till))


async def _accept(selling: Selling, body: bytes, till: str) -> tuple[HTTPStatus, bytes, str]:
    sale, written = read_sale(body)
    ack, known = await selling.accept(sale, till, written)
    status = HTTPStatus.OK if known else HTTPStatus.CREATED
    return status, msgspec.json.encode(ack), f"{SALES}/{ack.sale_id}"


async def get_sale(request: web.Request) -> web.Response:
    """A sale that this box accepted, with its ack and whether the cloud holds it."""
    return json_answer(request.app[SELLING].look_up(request.match_info["sale_id"]))

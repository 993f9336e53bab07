"""Sales: post one, look one up."""

import msgspec
from aiohttp import web

from appliance.api.access import TILL
from appliance.api.bodies import read_json
from appliance.api.keys import SELLING
from appliance.domain.sale import SALE_BYTES_MAX, parse_sale
from appliance.runtime.bodies import json_answer


async def post_sale(request: web.Request) -> web.Response:
    """Accept a sale: 201 once it is on disk, 200 with the same bytes when it is known."""
    sale = parse_sale(await read_json(request, SALE_BYTES_MAX))
    ack, known = await request.app[SELLING].accept(sale, request[TILL])
    return web.Response(
        body=msgspec.json.encode(ack),
        status=200 if known else 201,
        content_type="application/json",
        headers={"Location": f"/v1/sales/{ack.sale_id}"},
    )


async def get_sale(request: web.Request) -> web.Response:
    """A sale that this box accepted, with its ack and whether the cloud holds it."""
    return json_answer(request.app[SELLING].look_up(request.match_info["sale_id"]))
